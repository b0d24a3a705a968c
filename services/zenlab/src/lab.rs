//! What the other crates bring to this program.

pub use architectures::REGISTRY;
pub use chassis::{Architecture, Capacity, Workers};
