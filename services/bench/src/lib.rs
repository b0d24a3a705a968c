//! Measures servers so that the figures can be believed.
//!
//! - [`Crowd`]: clients of one endpoint, asked for a [`Slot`] of load at a [`Pace`]. Its books balance, and its latencies count
//!   from the planned instant.
//! - [`Lab`]: starts [`Server`]s on loopback and reads what they use.
//! - [`stats`]: what may be said of measurements that were taken side by side.
//! - [`Session`]: how a report comes about.
//! - [`machine`]: what else the machine did meanwhile.
//! - [`bench`](mod@bench): which architecture costs what.
//! - [`claims`]: sentences of the chapter as experiments.
//! - [`search`]: the greatest rate at which a server keeps a limit.
//! - [`race`]: all at once, for the eye.

pub mod bench;
mod calls;
pub mod claims;
mod clock;
mod driver;
mod lab;
mod log;
pub mod machine;
mod pace;
pub mod race;
mod random;
pub mod search;
mod session;
mod slot;
pub mod stats;

pub use driver::{Crowd, Life, Options};
pub use lab::{Facts, Lab, Server, Subject, Usage, packet_filter};
pub use pace::{Arrivals, Pace};
pub use random::Random;
pub use session::Session;
pub use slot::{Slot, histogram};
