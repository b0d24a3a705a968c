//! What the other crates bring to this program, and the fleet that is made of it.

use zen::{Dialogue, Transport};

pub use architectures::REGISTRY;
pub use chassis::{Architecture, Capacity, Workers};

/// A server of the fleet: an architecture under a name and on ports of its own.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// What people and metrics call it.
    pub name: &'static str,
    /// What serves.
    pub architecture: &'static Architecture,
    /// Its ports are the first ones plus this where many servers share a host.
    pub offset: u16,
    /// What is said there.
    pub dialogue: Dialogue,
}

/// The chapter's echo servers: name, architecture and offset. They answer something else than the others, so they are asked
/// and watched, but not compared.
const ECHO: [(&str, &str, u16); 2] = [("echo_callbacks", "callbacks", 18), ("echo_coroutines", "coroutines", 19)];

/// Every server of the fleet: the architectures, then those that echo.
pub fn fleet() -> impl Iterator<Item = Member> {
    let echo = ECHO.into_iter().filter_map(|(name, architecture, offset)| {
        Some(Member { name, architecture: architectures::find(architecture)?, offset, dialogue: Dialogue::Echo })
    });
    REGISTRY.iter().copied().map(Member::of).chain(echo)
}

impl Member {
    /// An architecture by its own name, with the usual dialogue.
    pub const fn of(architecture: &'static Architecture) -> Self {
        Self { name: architecture.name, architecture, offset: architecture.offset, dialogue: Dialogue::Zen }
    }

    /// Whether it serves this transport.
    pub fn supports(&self, transport: Transport) -> bool {
        self.architecture.supports(transport)
    }
}
