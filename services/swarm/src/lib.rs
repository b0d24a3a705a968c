//! The load generator.
//!
//! ```text
//! plan, run of a scenario   ──▶  engine: workers, each one thread, one epoll loop, whole lanes   ──▶  tally (what was seen)
//!   ▲ admin API, spotlight         lane by lane: schedule → client → check each answer                │ metrics, status, spans
//! ```
//!
//! Who asks is a [`Population`] of kinds of clients, from the steady one to those that misbehave on purpose; a [`Scenario`] is a
//! load with a name and with what should be seen.
//!
//! What makes its numbers worth something:
//! - A question's latency is counted from the instant at which it *should* have been asked. A server that is slow is not
//!   asked less, and does not look better for it.
//! - Every answer is compared byte for byte.
//! - Nothing is dropped without a count: `planned = sent + unsent + dropped + waiting`, and
//!   `sent = outcomes + in flight`. Every snapshot is checked for both.

mod api;
mod client;
mod dealing;
mod engine;
mod exact;
mod expectation;
mod kinds;
mod log;
mod metrics;
mod plan;
mod population;
mod runs;
mod scenario;
mod schedule;
mod service;
mod spans;
mod spotlight;
mod tally;

pub use metrics::METRICS;
pub use plan::{
    CLIENTS_FIELDS, Clients, Field, MayBe, Mode, OverRun, PLAN_FIELDS, Plan, PlanError, SPOTLIGHT_FIELDS, Spotlight,
    Target,
};
pub use population::{Kind, Population};
pub use scenario::Scenario;
pub use schedule::{Arrivals, Shape};
pub use service::{Service, Settings};
pub use tally::{Ledger, Outcome, Snapshot};
