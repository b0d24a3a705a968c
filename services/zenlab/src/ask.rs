//! `zenlab ask`: the chapter's client, alone or as a crowd.

mod client;

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use zen::{Dialogue, Endpoint, EndpointError, QUESTIONS};

use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::output;
use crate::places;
use crate::target;
use client::Client;

/// Enough for a client that keeps little; the default of 8 MiB would forbid great crowds.
const STACK: usize = 128 * 1024;

/// What `ask` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of a server of the fleet (over TCP), or where it serves: `tcp://`, `udp://`, `unix://` or `unixgram://`
    #[arg(value_name = "NAME|URL")]
    place: String,
    /// What to ask [default: the three questions]
    #[arg(value_name = "QUESTION")]
    questions: Vec<String>,
    /// So many clients at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    clients: u16,
    /// The server echoes: expect what was sent. Of the servers of the fleet that is known
    #[arg(long)]
    echo: bool,
}

/// Exits with 1 if an answer is missing or wrong.
pub fn run(args: &Args) -> Outcome {
    let (endpoint, dialogue) = place(&args.place)?;
    let questions: Vec<String> = if args.questions.is_empty() {
        QUESTIONS.iter().map(|aphorism| aphorism.question.to_owned()).collect()
    } else {
        args.questions.clone()
    };
    let conversation = Conversation { endpoint, questions, echo: args.echo || dialogue == Dialogue::Echo };
    Ok(if args.clients == 1 { conversation.alone() } else { conversation.crowd(args.clients) })
}

/// Where that is, and what is said there as far as the place tells.
fn place(place: &str) -> Result<(Endpoint, Dialogue), Failure> {
    if place.contains("://") {
        let endpoint = place.parse().map_err(|error: EndpointError| Failure::usage(error.to_string()))?;
        Ok((endpoint, Dialogue::Zen))
    } else {
        target::member(place).map(|member| (places::tcp(&member), member.dialogue))
    }
}

/// What every client says.
struct Conversation {
    endpoint: Endpoint,
    questions: Vec<String>,
    echo: bool,
}

impl Conversation {
    fn expected<'a>(&self, question: &'a str) -> &'a str {
        if self.echo {
            return question;
        }
        let known = QUESTIONS.iter().find(|aphorism| aphorism.question == question);
        known.map_or(zen::error::UNKNOWN, |aphorism| aphorism.answer)
    }

    fn alone(&self) -> u8 {
        let mut code = OK;
        let end = self.have(|question, answer| {
            output::say(&format!("{question} → {answer}"));
            let wanted = self.expected(question);
            if answer != wanted {
                output::complain(&format!("wrong: {wanted:?} was expected"));
                code = FAILED;
            }
        });
        if let Err(error) = end {
            output::complain(&format!("zenlab: {error}"));
            code = FAILED;
        }
        code
    }

    /// Has the conversation and tells of each answer; ends at the first that is missing.
    fn have(&self, mut tell: impl FnMut(&str, &str)) -> io::Result<()> {
        let named =
            |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{} {what}: {error}", self.endpoint));
        let mut client = Client::connect(&self.endpoint).map_err(|error| named("cannot be reached", error))?;
        for question in &self.questions {
            let length = self.echo.then_some(question.len());
            let answer = client.ask(question.as_bytes(), length);
            tell(question, &answer.map_err(|error| named(&format!("does not answer {question:?}"), error))?);
        }
        Ok(())
    }

    fn crowd(&self, clients: u16) -> u8 {
        let began = Instant::now();
        let mut books = Books::default();
        thread::scope(|scope| {
            let start = |number| {
                let builder = thread::Builder::new().name(format!("client-{number}")).stack_size(STACK);
                builder.spawn_scoped(scope, || self.books())
            };
            let threads: Vec<_> = (0..clients).map(start).collect();
            for thread in threads {
                books.add(match thread.map(thread::ScopedJoinHandle::join) {
                    Ok(Ok(of_client)) => of_client,
                    Ok(Err(_)) => self.nothing("a client panicked".to_owned()),
                    Err(error) => self.nothing(format!("a client could not be started: {error}")),
                });
            }
        });
        output::say(&format!("clients={clients} {books} in {:.2} s", began.elapsed().as_secs_f64()));
        if let Some(trouble) = &books.trouble {
            output::complain(trouble);
        }
        if books.wrong + books.missing > 0 { FAILED } else { OK }
    }

    /// The conversation of one client of many.
    fn books(&self) -> Books {
        let began = Instant::now();
        let mut books = Books { missing: self.questions.len(), ..Books::default() };
        let end = self.have(|question, answer| books.count(question, answer, self.expected(question)));
        if let Err(error) = end {
            books.trouble = Some(error.to_string());
        }
        books.times.push(began.elapsed());
        books
    }

    /// The books of a client that has asked nothing.
    fn nothing(&self, trouble: String) -> Books {
        Books { missing: self.questions.len(), trouble: Some(trouble), ..Books::default() }
    }
}

/// What became of the questions of a client, or of many.
#[derive(Debug, Default)]
struct Books {
    right: usize,
    wrong: usize,
    missing: usize,
    /// How long each conversation took.
    times: Vec<Duration>,
    /// The first thing that went wrong.
    trouble: Option<String>,
}

impl Books {
    fn count(&mut self, question: &str, answer: &str, expected: &str) {
        self.missing -= 1;
        if answer == expected {
            self.right += 1;
        } else {
            self.wrong += 1;
            self.trouble = Some(format!("{question:?} was answered {answer:?}"));
        }
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missing += other.missing;
        self.times.extend(other.times);
        self.trouble = self.trouble.take().or(other.trouble);
    }

    /// The time within which this share of the conversations was over.
    fn quantile(&self, q: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let place = (q * times.len() as f64) as usize;
        times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.quantile(0.5).as_micros(), self.quantile(0.99).as_micros());
        let Self { right, wrong, missing, .. } = self;
        write!(f, "right={right} wrong={wrong} missing={missing}; conversations p50={p50}µs p99={p99}µs, all")
    }
}
