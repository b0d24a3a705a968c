//! `zenlab runs`: scenarios of the swarm, run, followed and reported.

mod follow;
mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use swarm::Scenario;

use crate::api::Api;
use crate::failure::{Failure, OK, Outcome};
use crate::measure::units;
use crate::output;
use crate::target;

const PATH: &str = "/api/v1/runs";

/// What `runs` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  zenlab runs                                     what has been run
  zenlab runs scenarios                           what can be run
  zenlab runs start one_trickler --follow
  zenlab runs start my.toml --targets epoll,prefork --duration 10s
  zenlab runs report 1 -o one_trickler/

Exit codes: 0 done, 1 failure (also: the run was cancelled), 2 usage; of `follow` and `start --follow` 3 something is not as
the scenario expects, 4 the run's own checks failed. Ctrl-C ends the view only: `zenlab runs cancel ID` ends a run.")]
pub struct Args {
    /// Which swarm: `swarm`, or its admin URL
    #[arg(long, global = true, value_name = "TARGET", default_value = "swarm")]
    swarm: String,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the runs that the swarm remembers
    List(List),
    /// Print the scenarios that can be run
    Scenarios(List),
    /// Run a scenario of the swarm, or one of a file
    Start(Start),
    /// Print what a run has seen
    Show(Show),
    /// Show a run as it goes on; ends with the run
    Follow(One),
    /// End a run before its time
    Cancel(One),
    /// Write the report of a run that has ended, in every form
    Report(Report),
}

#[derive(Debug, Default, clap::Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct One {
    /// Number of the run
    id: u64,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    run: One,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Report {
    #[command(flatten)]
    run: One,
    /// Where to; the directory is made if it is not there
    #[arg(short, long, visible_alias = "out", value_name = "DIR")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// Name of a scenario, or the file of one (TOML or JSON)
    #[arg(value_name = "SCENARIO|FILE")]
    scenario: String,
    /// Whom to load, separated by commas [default: as the scenario says]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    targets: Vec<String>,
    /// Questions a second for each target
    #[arg(short = 'R', long, value_parser = units::rate)]
    rate: Option<f64>,
    /// How long, such as 20s
    #[arg(short, long, value_name = "TIME", value_parser = units::time)]
    duration: Option<Duration>,
    /// Connections of clients that keep theirs
    #[arg(short, long, value_name = "N", value_parser = units::count)]
    connections: Option<usize>,
    /// Connections that are open beside these, and silent
    #[arg(long, value_name = "N")]
    idle: Option<usize>,
    /// What chance is made of
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Show the run as it goes on, to its end
    #[arg(long)]
    follow: bool,
}

/// Does what is asked for; lists the runs if nothing is.
pub fn run(args: &Args) -> Outcome {
    let api = target::single(&args.swarm)?.api();
    match args.action.as_ref().unwrap_or(&Action::List(List::default())) {
        Action::List(list) => all(&api, list),
        Action::Scenarios(list) => scenarios(&api, list),
        Action::Start(start) => start.run(&api),
        Action::Show(Show { run, json }) => one(&api, run.id, *json),
        Action::Follow(run) => follow::run(&api, run.id),
        Action::Cancel(run) => cancel(&api, run.id),
        Action::Report(report) => report.run(&api),
    }
}

fn all(api: &Api, list: &List) -> Outcome {
    let runs = api.get(PATH).map_err(Failure::from)?.json();
    if list.json {
        output::say(&format!("{runs:#}"));
    } else {
        output::say_all(&show::runs(&runs));
    }
    Ok(OK)
}

fn scenarios(api: &Api, list: &List) -> Outcome {
    let scenarios = api.get("/api/v1/scenarios").map_err(Failure::from)?.json();
    if list.json {
        output::say(&format!("{scenarios:#}"));
    } else {
        output::say_all(&show::scenarios(&scenarios));
    }
    Ok(OK)
}

fn one(api: &Api, id: u64, json: bool) -> Outcome {
    let run = api.get(&format!("{PATH}/{id}")).map_err(Failure::from)?.json();
    if json {
        output::say(&format!("{run:#}"));
    } else {
        output::say_all(&show::run(&run));
    }
    Ok(OK)
}

fn cancel(api: &Api, id: u64) -> Outcome {
    let run = api.post(&format!("{PATH}/{id}/cancel"), None)?.json();
    output::say(&format!("{}: {}", show::title(&run), show::end(&run)));
    Ok(OK)
}

impl Start {
    fn run(&self, api: &Api) -> Outcome {
        let run = api.post(PATH, Some(&self.body()?))?.json();
        let id = run["id"].as_u64().ok_or_else(|| Failure::runtime("the swarm has not said which run it is"))?;
        output::complain(&format!("{}: {}", show::title(&run), show::text(&run["summary"])));
        output::complain(&format!("Expected: {}", show::text(&run["expectation"])));
        if self.follow {
            return follow::run(api, id);
        }
        output::say(&id.to_string());
        Ok(OK)
    }

    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        if is_file(&self.scenario) {
            let scenario = Scenario::of_file(Path::new(&self.scenario)).map_err(Failure::usage)?;
            body.insert("load".into(), json!(scenario));
        } else {
            body.insert("scenario".into(), json!(self.scenario));
        }
        let others = [
            ("targets", (!self.targets.is_empty()).then(|| json!(self.targets))),
            ("rate", self.rate.map(|rate| json!(rate))),
            ("duration_seconds", self.duration.map(|time| json!(time.as_secs_f64()))),
            ("connections", self.connections.map(|connections| json!(connections))),
            ("idle", self.idle.map(|idle| json!(idle))),
            ("seed", self.seed.map(|seed| json!(seed))),
        ];
        body.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(Value::Object(body))
    }
}

/// Names have neither dots nor slashes.
fn is_file(text: &str) -> bool {
    text.contains(['.', '/'])
}

impl Report {
    fn run(&self, api: &Api) -> Outcome {
        let text = api.get(&format!("{PATH}/{}/report.json", self.run.id)).map_err(Failure::from)?.text;
        let paths = report::write_all(&report::Report::from_json(&text)?, &self.output)?;
        output::say_all(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
        Ok(OK)
    }
}
