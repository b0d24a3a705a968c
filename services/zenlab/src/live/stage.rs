//! The whole terminal for a while: what stood there before is there again afterwards, whatever happens in between.

use std::io::{self, Write};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr};

use super::screen::{clip, print, size};

/// The terminal as it was found, while somebody has it.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// Back to the cursor and the screen that were there.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal, taken. It is given back when this goes, and before the words of a panic are printed.
#[derive(Debug)]
pub struct Stage {
    out: io::Stdout,
    /// Whether there is a keyboard.
    hears: bool,
}

impl Stage {
    /// Takes the terminal of standard output; keys are heard without Enter if standard input is one as well.
    ///
    /// # Errors
    /// If the terminal does not do what it is told.
    pub fn take() -> io::Result<Self> {
        give_back_on_panic();
        let hears = isatty(io::stdin());
        if hears {
            let found = tcgetattr(io::stdin())?;
            let mut wanted = found.clone();
            // Ctrl-C stays a signal.
            wanted.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            wanted.special_codes[SpecialCodeIndex::VMIN] = 0;
            wanted.special_codes[SpecialCodeIndex::VTIME] = 0;
            *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            tcsetattr(io::stdin(), OptionalActions::Now, &wanted)?;
        }
        print(ENTER);
        Ok(Self { out: io::stdout(), hears })
    }

    /// Draws these lines over the last ones, as many and as much of each as there is room for.
    pub fn draw(&self, lines: &[String]) {
        let (width, height) = size();
        let shown = lines.iter().take(height).map(|line| format!("{}\x1b[K", clip(line, width)));
        let picture = format!("\x1b[H{}\x1b[J", shown.collect::<Vec<_>>().join("\r\n"));
        let mut out = self.out.lock();
        let _gone = out.write_all(picture.as_bytes()).and_then(|()| out.flush());
    }

    /// Whether `key` was pressed since this was asked last.
    pub fn heard(&self, key: u8) -> bool {
        let mut keys = [0; 64];
        // Nothing to be read is 0 bytes: the read does not wait.
        self.hears && rustix::io::read(io::stdin(), &mut keys).is_ok_and(|count| keys[..count].contains(&key))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    print(LEAVE);
    if let Some(found) = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs nothing back.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &found);
    }
}

/// The words of a panic would be lost with the alternate screen.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            usual(panic);
        }));
    });
}
