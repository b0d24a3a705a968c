//! The whole terminal for a while: what stood there before is there again afterwards, whatever key is pressed and whatever fails
//! in between. Only a signal from elsewhere that ends the program at once leaves the terminal as it is.

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

/// The key that is Ctrl-C elsewhere, as long as no signal is made of it.
pub const CTRL_C: u8 = 0x03;

/// The same for Ctrl-\, which otherwise ends a program at once.
pub const CTRL_BACKSLASH: u8 = 0x1c;

/// The terminal, taken. It is given back when this goes, and before the words of a panic are printed.
#[derive(Debug)]
pub struct Stage {
    out: io::Stdout,
    /// Whether there is a keyboard.
    hears: bool,
}

impl Stage {
    /// Takes the terminal of standard output; keys are heard without Enter if standard input is one as well. No signal is made
    /// of a key: Ctrl-C, Ctrl-\ and Ctrl-Z would end or stop the program without giving the terminal back.
    ///
    /// # Errors
    /// If the terminal does not do what it is told.
    pub fn take() -> io::Result<Self> {
        give_back_on_panic();
        let hears = isatty(io::stdin());
        if hears {
            let found = tcgetattr(io::stdin())?;
            let mut wanted = found.clone();
            wanted.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
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

    /// The first of these keys that was pressed since this was asked last.
    pub fn heard(&self, keys: &[u8]) -> Option<u8> {
        let mut pressed = [0; 64];
        // Nothing to be read is 0 bytes: the read does not wait.
        let count = if self.hears { rustix::io::read(io::stdin(), &mut pressed).unwrap_or(0) } else { 0 };
        pressed[..count].iter().copied().find(|key| keys.contains(key))
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
