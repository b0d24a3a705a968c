//! The seam to the crates that do the work.

pub use stub::*;

mod stub {
    use zen::Transport;

    #[derive(Debug)]
    pub struct Architecture {
        pub name: &'static str,
        pub summary: &'static str,
        pub offset: u16,
        pub family: Family,
        pub workers: Workers,
        pub capacity: Capacity,
    }
    #[derive(Debug, Clone, Copy)]
    pub struct Family;
    impl Family {
        pub const fn label(self) -> &'static str {
            "readiness"
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[allow(dead_code)]
    pub enum Workers {
        Threads(usize),
        Processes(usize),
        Ignored(&'static str),
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[allow(dead_code)]
    pub enum Capacity {
        PerWorker,
        Connections(usize),
    }
    impl Architecture {
        pub fn supports(&self, _: Transport) -> bool {
            true
        }
    }
    static EPOLL: Architecture = Architecture {
        name: "epoll",
        summary: "one loop",
        offset: 11,
        family: Family,
        workers: Workers::Ignored("there is one loop"),
        capacity: Capacity::Connections(10_000),
    };
    pub static REGISTRY: &[&Architecture] = &[&EPOLL];
}
