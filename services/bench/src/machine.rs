//! The machine a lab is on.

pub use ::machine::{Reading, Weather};
use report::Machine;

use crate::lab::{Lab, packet_filter};

/// This machine, with the weather of the whole run.
pub fn describe(lab: &Lab, weather: &Weather) -> Machine {
    let own_network = lab.has_own_network();
    ::machine::describe(lab.cores(), own_network, packet_filter(own_network), weather)
}
