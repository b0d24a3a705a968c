//! A fleet as it is seen live, whoever started it: `up` and `top` show the same.

mod screen;
mod stage;
mod watch;

pub use screen::{Screen, width};
pub use stage::{CTRL_BACKSLASH, CTRL_C, Stage};
pub use watch::{Line, Sight, Watch};
