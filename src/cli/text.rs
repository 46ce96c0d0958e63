//! Words and numbers for people.

/// `text` without characters that steer a terminal: names in files may hold anything. Line breaks stay where a list item
/// of ours follows.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' if rest.peek() == Some(&' ') => escaped.push('\n'),
            character if steers(character) => escaped.extend(character.escape_unicode()),
            character => escaped.push(character),
        }
    }
    escaped
}

/// As [`escape`], for a name within a line.
pub fn escape_name(name: &str) -> String {
    name.chars().flat_map(|c| if steers(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn steers(character: char) -> bool {
    character.is_control() || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `1.5 MB`.
pub fn bytes(count: u64) -> String {
    scaled(count as f64, &["bytes", "kB", "MB", "GB", "TB"])
}

/// `41.2 M`.
pub fn amount(count: u64) -> String {
    scaled(count as f64, &["", "k", "M", "G", "T"]).trim_end().to_string()
}

fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.5 { 0 } else { usize::from(value < 99.5) + usize::from(value < 9.95) };
    format!("{value:.digits$} {}", units[unit])
}

/// `0.0123`, `1.5e-7`: three digits that matter.
pub fn brief(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || !x.is_finite() {
        return format!("{}", x + 0.0);
    }
    if !(1e-3..99_999.5).contains(&size) {
        let text = format!("{x:.2e}");
        return text.split_once('e').map_or(text.clone(), |(digits, power)| format!("{}e{power}", trimmed(digits)));
    }
    let digits = (2 - size.log10().floor() as i32).max(0) as usize;
    trimmed(&format!("{x:.digits$}")).to_string()
}

/// Without zeros that say nothing.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// `1 node`, `2 nodes`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `1x3x224x224`.
pub fn shape<T: ToString>(sizes: &[T]) -> String {
    if sizes.is_empty() {
        return "scalar".into();
    }
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(escape("tensor `\u{1b}[31mx\r\n`"), "tensor `\\u{1b}[31mx\\u{d}\\u{a}`");
        assert_eq!(escape("not supported:\n  a\n  b"), "not supported:\n  a\n  b");
        assert_eq!(escape_name("a\n b\u{202e}"), "a\\u{a} b\\u{202e}");
        assert_eq!(escape("grün/重み"), "grün/重み");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (count, text) in [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (278_123, "278 kB"), (1_080_000, "1.08 MB")] {
            assert_eq!(bytes(count), text);
        }
        for (number, text) in
            [(0.0, "0"), (-0.0, "0"), (0.5, "0.5"), (1234.5, "1234"), (-0.012345, "-0.0123"), (1.5e-7, "1.5e-7"), (2e9, "2e9")]
        {
            assert_eq!(brief(number), text);
        }
        assert_eq!((amount(12), amount(41_200_000)), ("12".to_string(), "41.2 M".to_string()));
    }
}
