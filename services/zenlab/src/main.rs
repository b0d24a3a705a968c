//! `zenlab`: the one program of the laboratory. Servers, load, and the operator's hands are its subcommands.
//!
//! Everything starts on the main thread and no thread is made before a subcommand runs: `server` becomes a supervisor that
//! forks and therefore stays single-threaded for life, and `up` starts children that die with the thread that forked them.

mod api;
mod ask;
mod claiming;
mod completing;
mod doctor;
mod failure;
mod health;
mod lab;
mod list;
mod live;
mod measure;
mod metrics;
mod operate;
mod output;
mod places;
mod reporting;
mod runs;
mod server;
mod signals;
mod spotlight;
mod swarming;
mod target;
mod token;
mod top;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::{FAILED, OK, Outcome};

/// A laboratory of server architectures: one question, many servers.
#[derive(Debug, Parser)]
#[command(name = "zenlab", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole fleet on this machine with the swarm; Ctrl-C drains all
    Up(up::Args),
    /// Print the architectures
    List(list::Args),
    /// Run one server
    Server(server::Args),
    /// Run the load generator as a service
    Swarm(swarming::Args),
    /// Ask a server questions, as the chapter's client does
    Ask(ask::Args),
    /// Show a running fleet live
    Top(top::Args),
    /// Print what servers are doing
    Status(operate::status::Args),
    /// Print what has happened to a server, such as settings changed and workers replaced
    Events(operate::events::Args),
    /// Read or change the settings of a running server
    #[command(subcommand)]
    Config(operate::config::Action),
    /// Take no new clients; they wait in the kernel's queue
    Pause(operate::orders::Pause),
    /// Take new clients again
    Resume(operate::orders::Resume),
    /// Finish what is owed, then park or exit; follows to the end
    Drain(operate::drain::Args),
    /// Serve again after a drain
    Start(operate::orders::Start),
    /// End a server
    Shutdown(operate::shutdown::Args),
    /// Measure what a question costs each architecture, as ratios with intervals
    Bench(measure::bench::Args),
    /// Find the greatest rate at which a server keeps a limit such as p99<5ms
    Search(measure::search::Args),
    /// Load all at once and watch: a show, not a measurement
    Race(measure::race::Args),
    /// Let a conversation, a worker or a data plane fail, to see who is harmed
    Crash(operate::crash::Args),
    /// Try a claim of the chapter as an experiment; without one, list them
    Claim(claiming::Args),
    /// Load some architectures harder than the others
    Spotlight(spotlight::Args),
    /// Run scenarios of the swarm, follow them, and write their reports
    Runs(runs::Args),
    /// Exit 0 if a URL answers 200 (for images without a shell)
    Health(health::Args),
    /// Show a report in another form: Markdown, HTML, pictures, interval logs
    Report(reporting::Report),
    /// Compare two reports, figure by figure; with --fail-if, as a check
    Compare(reporting::Compare),
    /// Print this machine's limits and what can be reached
    Doctor(doctor::Args),
    /// Make or show the token that changes need
    Token(token::Args),
    /// Print what a shell needs to complete commands and options
    Completions(completing::Args),
}

fn main() -> ExitCode {
    // clap itself ends with 2 for wrong usage and 0 for help.
    let outcome = run(&Cli::parse().command);
    let code = outcome.unwrap_or_else(|failure| {
        output::complain(&format!("zenlab: {failure}"));
        failure.code()
    });
    ExitCode::from(if code == OK && output::is_lost() { FAILED } else { code })
}

fn run(command: &Command) -> Outcome {
    match command {
        Command::Up(args) => up::run(args),
        Command::List(args) => Ok(list::run(args)),
        Command::Server(args) => server::run(args),
        Command::Swarm(args) => swarming::run(args),
        Command::Ask(args) => ask::run(args),
        Command::Top(args) => top::run(args),
        Command::Status(args) => operate::status::run(args),
        Command::Events(args) => operate::events::run(args),
        Command::Config(action) => operate::config::run(action),
        Command::Pause(args) => args.run(),
        Command::Resume(args) => args.run(),
        Command::Drain(args) => operate::drain::run(args),
        Command::Start(args) => args.run(),
        Command::Shutdown(args) => operate::shutdown::run(args),
        Command::Bench(args) => measure::bench::run(args),
        Command::Search(args) => measure::search::run(args),
        Command::Race(args) => measure::race::run(args),
        Command::Crash(args) => operate::crash::run(args),
        Command::Claim(args) => claiming::run(args),
        Command::Spotlight(args) => spotlight::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Health(args) => health::run(args),
        Command::Report(args) => args.run(),
        Command::Compare(args) => args.run(),
        Command::Doctor(args) => Ok(doctor::run(args)),
        Command::Token(args) => token::run(args),
        Command::Completions(args) => Ok(completing::run(args, Cli::command())),
    }
}
