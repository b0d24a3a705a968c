//! Measures servers so that the figures can be believed.
//!
//! - [`Crowd`]: clients of one endpoint, asked for a [`Slot`] of load at a [`Pace`]. Its books balance, and its latencies count
//!   from the planned instant.

mod clock;
mod driver;
mod pace;
mod random;
mod slot;
pub mod stats;

pub use driver::{Crowd, Life, Options};
pub use pace::{Arrivals, Pace};
pub use random::Random;
pub use slot::{Slot, histogram};
