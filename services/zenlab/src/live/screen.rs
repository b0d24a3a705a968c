//! The live lines: redrawn in place on a terminal, one after the other elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::watch::Line;
use crate::output;

/// Where the live lines go.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    /// Lines of the last drawing, to be drawn over.
    drawn: usize,
}

impl Screen {
    /// Standard output.
    pub fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), drawn: 0 }
    }

    /// How often lines are wanted.
    pub const fn pace(&self) -> Duration {
        Duration::from_secs(if self.is_terminal { 1 } else { 5 })
    }

    /// Shows the present state.
    pub fn show(&mut self, spotlight: &str, lines: &[Line]) {
        if self.is_terminal {
            self.draw(spotlight, lines);
        } else {
            output::say_all(&lines.iter().map(Line::plain).collect::<Vec<_>>());
        }
    }

    /// Prints something that stays, above the live lines.
    pub fn news(&mut self, news: &[String]) {
        if news.is_empty() {
            return;
        }
        if self.drawn > 0 {
            print(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
        output::complain_all(news);
    }

    fn draw(&mut self, spotlight: &str, lines: &[Line]) {
        let (width, height) = size();
        let rows: Vec<Vec<String>> = std::iter::once(Line::head()).chain(lines.iter().map(Line::cells)).collect();
        let mut text = vec![spotlight.to_owned()];
        text.extend(fitting(&rows, width));
        // One line too many would scroll, and the way back up would end at the wrong line.
        text.truncate(height.saturating_sub(1).max(1));
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let body: Vec<String> = text.iter().map(|line| format!("{}\x1b[K\n", clip(line, width))).collect();
        print(&format!("\r{up}{}\x1b[J", body.concat()));
        self.drawn = text.len();
    }
}

/// The first columns of a table, as many as there is room for: a part of a number would be another number.
fn fitting(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let first = |count: usize| {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().take(count).cloned().collect()).collect();
        output::table(&rows)
    };
    let fits = |lines: &Vec<String>| lines.iter().all(|line| line.chars().count() <= width);
    (2..=columns).rev().map(first).find(fits).unwrap_or_else(|| first(1))
}

/// At most `width` characters of a line: a wrapped line would be two.
pub(super) fn clip(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

/// Columns of the terminal.
pub fn width() -> usize {
    size().0
}

/// Columns and rows of the terminal.
pub(super) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_number_is_cut_where_there_is_little_room() {
        let rows = [["NAME", "RIGHT", "WRONG"], ["epoll", "12345", "0"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(super::fitting(&rows, 80)[1], "epoll  12345      0");
        assert_eq!(super::fitting(&rows, 18)[1], "epoll  12345");
        assert_eq!(super::fitting(&rows, 11), ["NAME", "epoll"]);
    }
}
