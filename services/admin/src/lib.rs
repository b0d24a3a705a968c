//! What the admin APIs of the servers and of the swarm have in common.
//!
//! - [`Guard`]: who may ask, and who may change something.
//! - [`Problem`]: every error, as RFC 9457 asks for it.
//! - [`metrics`]: metrics as a table, and what a scrape is made of.
//! - [`body`], [`query`]: what a request says.
//! - [`serve()`]: HTTP/1 with limits.

pub mod audit;
pub mod body;
mod guard;
pub mod metrics;
mod problem;
pub mod query;
mod serve;

pub use guard::Guard;
pub use problem::Problem;
pub use serve::{Observation, keep_path, serve};
