//! Reads: Rust text into names and marks; comments, texts, characters and lifetimes fall out.
#![expect(
    clippy::indexing_slicing,
    reason = "a test may end at a source it cannot read; every slice is inside its length"
)]

/// One token that can be part of a path, or end one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A keyword, a name (without `r#`) or a number.
    Name(String),
    /// Any other character.
    Mark(char),
}

/// All tokens and the lines they are on, counted from 1.
pub(crate) fn tokens(text: &str) -> Vec<(Token, usize)> {
    let letters: Vec<char> = text.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < letters.len() {
        let rest = &letters[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().take_while(|letter| **letter != '\n').count(),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest, 1),
            ['b' | 'c', '"', ..] => quoted(rest, 2),
            ['\'', ..] | ['b', '\'', ..] => character_or_lifetime(rest),
            _ if raw_hashes(rest).is_some() => raw_text(rest),
            ['r', '#', ..] => 2,
            [first, ..] if is_word(*first) => {
                let length = rest.iter().take_while(|letter| is_word(**letter)).count();
                found.push((Token::Name(rest[..length].iter().collect()), line));
                length
            }
            [first, ..] => {
                if !first.is_whitespace() {
                    found.push((Token::Mark(*first), line));
                }
                1
            }
            [] => 1,
        };
        let taken = &rest[..length.clamp(1, rest.len())];
        line += taken.iter().filter(|letter| **letter == '\n').count();
        at += taken.len();
    }
    found
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// A text whose contents begin at `start`; a backslash hides the letter after it.
fn quoted(rest: &[char], start: usize) -> usize {
    let mut at = start;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `'x'`, `b'x'` and `'\n'` are characters; `'a` is a lifetime.
fn character_or_lifetime(rest: &[char]) -> usize {
    let start = if rest[0] == 'b' { 2 } else { 1 };
    match rest.get(start..).unwrap_or_default() {
        ['\\', ..] => {
            let end = rest
                .iter()
                .skip(start + 2)
                .position(|letter| *letter == '\'');
            start + 3 + end.unwrap_or_default()
        }
        [_, '\'', ..] => start + 2,
        name => start + name.iter().take_while(|letter| is_word(**letter)).count(),
    }
}

/// The number of hash signs of `r"`, `r#"`, `br##"`, if that is what begins here.
fn raw_hashes(rest: &[char]) -> Option<(usize, usize)> {
    let start = match rest {
        ['r', '#' | '"', ..] => 1,
        ['b' | 'c', 'r', '#' | '"', ..] => 2,
        _ => return None,
    };
    let hashes = rest[start..]
        .iter()
        .take_while(|letter| **letter == '#')
        .count();
    (rest.get(start + hashes) == Some(&'"')).then_some((start, hashes))
}

fn raw_text(rest: &[char]) -> usize {
    let (start, hashes) = raw_hashes(rest).unwrap_or_default();
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let contents = start + hashes + 1;
    let after = rest.get(contents..).unwrap_or_default();
    let length = after.windows(end.len()).position(|window| window == end);
    length.map_or(rest.len(), |length| contents + length + end.len())
}
