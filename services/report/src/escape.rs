//! Words of others in documents of ours.

use std::borrow::Cow;

/// For HTML and XML: text or an attribute's value.
pub(crate) fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars().map(visible) {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// For a sentence or a cell of a table in Markdown.
pub(crate) fn markdown(text: &str) -> String {
    let letters: Vec<char> = text.trim().chars().map(visible).collect();
    let is_word = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|letter| letter.is_alphanumeric());
    let mut safe = String::with_capacity(text.len());
    for (at, &letter) in letters.iter().enumerate() {
        let is_special = match letter {
            '\\' | '|' | '*' | '`' | '[' | ']' | '~' | '$' => true,
            // Within a word it is a letter; a name such as thread_pool stays readable.
            '_' => !(is_word(at.checked_sub(1)) && is_word(Some(at + 1))),
            '#' | '+' | '-' | '=' => at == 0,
            _ => false,
        };
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            other if is_special => safe.extend(['\\', other]),
            other => safe.push(other),
        }
    }
    safe
}

/// A block of code in Markdown, whose fence is longer than any in it.
pub(crate) fn fenced(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let text: String = text.chars().map(visible).collect();
    format!("{fence}sh\n{text}\n{fence}\n")
}

/// For one line of plain text.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if text.chars().all(|letter| visible(letter) == letter) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().map(visible).collect())
    }
}

/// Letters that no document may have, or that would turn the order of its letters, are shown as unknown ones.
fn visible(letter: char) -> char {
    match letter {
        '\n' | '\r' | '\t' => ' ',
        '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FFFE}' | '\u{FFFF}' => {
            '\u{FFFD}'
        }
        control if control.is_control() => '\u{FFFD}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_others_is_text() {
        assert_eq!(xml("<b a='\"'>&\u{1}\n"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{FFFD} ");
        assert_eq!(markdown("a_b _c_ | <i>\n# *d* [e](f)"), "a_b \\_c\\_ \\| &lt;i&gt; # \\*d\\* \\[e\\](f)");
        assert_eq!(markdown("# no heading"), "\\# no heading");
    }

    #[test]
    fn a_fence_cannot_be_closed_from_within() {
        assert_eq!(fenced("a ```` b"), "`````sh\na ```` b\n`````\n");
    }
}
