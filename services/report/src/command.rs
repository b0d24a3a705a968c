//! Command lines, as a shell reads them.

/// The words of a command line as one line that a POSIX shell takes apart into the same words. Source: POSIX.1-2024, XCU 2.2
/// (quoting).
pub fn command_line(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    words.into_iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as it is if it means only itself, else between single quotes; a single quote of its own stands outside of them.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+=:,./@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::command_line;

    #[test]
    fn a_shell_reads_the_same_words() {
        assert_eq!(command_line(["zenlab", "bench", "-o", "a/b.json"]), "zenlab bench -o a/b.json");
        let words =
            ["p99<5ms", "two words", "", "it's", "$HOME", "~", "a\\b", "`x`", "*", "!1", "ä", "new\nline", "-R"];
        let script = format!("printf '%s\\0' {}", command_line(words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let read = String::from_utf8(output.stdout).expect("the same letters");
        assert_eq!(read.trim_end_matches('\0').split('\0').collect::<Vec<_>>(), words);
    }
}
