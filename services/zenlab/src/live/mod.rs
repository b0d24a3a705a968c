//! A fleet as it is seen live, whoever started it: `up` and `top` show the same.

mod screen;
mod watch;

pub use screen::Screen;
pub use watch::{Line, Sight, Watch};
