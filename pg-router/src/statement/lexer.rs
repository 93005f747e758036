//! SQL text as tokens, in PostgreSQL's own manner; what could be read in two ways is not read at all. Kind: pure.
//!
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

/// A piece of a statement. What strings and numbers say is of no interest here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An identifier or a keyword without quotes.
    Word(&'a [u8]),
    /// An identifier in double quotes.
    Quoted,
    /// A constant: a string, a number, a parameter.
    Constant,
    /// Any other character.
    Symbol(u8),
}

impl Token<'_> {
    /// The word in lower case, if it is an unquoted one. Words of other scripts are no keywords and stay as they are.
    pub(super) fn word(&self) -> Option<String> {
        let Token::Word(word) = self else { return None };
        Some(String::from_utf8_lossy(word).to_ascii_lowercase())
    }
}

/// The tokens of a text; none if there is any doubt about where one of them ends.
pub(super) fn tokens(sql: &[u8]) -> Option<Vec<Token<'_>>> {
    let mut lexer = Lexer { rest: sql };
    let mut tokens = Vec::new();
    while lexer.skip_blank()? {
        tokens.push(lexer.token()?);
    }
    Some(tokens)
}

struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    /// Skips white space and comments; whether anything follows.
    fn skip_blank(&mut self) -> Option<bool> {
        loop {
            match self.rest {
                [] => return Some(false),
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, rest @ ..] => self.rest = rest,
                [b'-', b'-', ..] => self.skip_line(),
                [b'/', b'*', rest @ ..] => self.rest = after_comment(rest)?,
                _ => return Some(true),
            }
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        self.rest = end.map_or(&[], |end| &self.rest[end..]);
    }

    fn token(&mut self) -> Option<Token<'a>> {
        match self.rest {
            [b'\'', rest @ ..] => self.constant(after_plain_string(rest)?),
            [b'e' | b'E', b'\'', rest @ ..] => self.constant(after_escape_string(rest)?),
            [b'u' | b'U', b'&', b'\'' | b'"', ..] => None,
            [b'"', rest @ ..] => {
                self.rest = after_quote(rest, b'"')?;
                Some(Token::Quoted)
            }
            [b'$', next, ..] if next.is_ascii_digit() => Some(self.take_constant(1)),
            [b'$', ..] => self.constant(after_dollar_string(self.rest)?),
            [byte, ..] if byte.is_ascii_digit() => Some(self.take_constant(0)),
            [byte, ..] if starts_word(*byte) => Some(self.take_word()),
            [0, ..] | [] => None,
            [byte, rest @ ..] => {
                self.rest = rest;
                Some(Token::Symbol(*byte))
            }
        }
    }

    fn constant(&mut self, rest: &'a [u8]) -> Option<Token<'a>> {
        self.rest = rest;
        Some(Token::Constant)
    }

    /// A number or a parameter, with what letters stick to it.
    fn take_constant(&mut self, prefix: usize) -> Token<'a> {
        let length = self.rest[prefix..].iter().take_while(|byte| continues_word(**byte)).count();
        self.rest = &self.rest[prefix + length..];
        Token::Constant
    }

    fn take_word(&mut self) -> Token<'a> {
        let length = self.rest.iter().take_while(|byte| continues_word(**byte)).count();
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        Token::Word(word)
    }
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// What follows a comment; comments nest in PostgreSQL.
fn after_comment(mut rest: &[u8]) -> Option<&[u8]> {
    let mut depth = 1_usize;
    while depth > 0 {
        match rest {
            [b'/', b'*', after @ ..] => (depth, rest) = (depth + 1, after),
            [b'*', b'/', after @ ..] => (depth, rest) = (depth - 1, after),
            [_, after @ ..] => rest = after,
            [] => return None,
        }
    }
    Some(rest)
}

/// What follows a quoted piece in which the doubled quote stands for itself.
fn after_quote(mut rest: &[u8], quote: u8) -> Option<&[u8]> {
    loop {
        match rest {
            [first, second, after @ ..] if *first == quote && *second == quote => rest = after,
            [first, after @ ..] if *first == quote => return Some(after),
            [_, after @ ..] => rest = after,
            [] => return None,
        }
    }
}

/// What follows a string in plain quotes. With `standard_conforming_strings` off a backslash escapes, with it on it does
/// not, and we can't know which holds: no backslash is understood. The trail bytes of client-only encodings such as
/// SJIS include the backslash, but never the quote.
fn after_plain_string(rest: &[u8]) -> Option<&[u8]> {
    let after = after_quote(rest, b'\'')?;
    let inside = &rest[..rest.len() - after.len()];
    (!inside.contains(&b'\\') && !inside.contains(&0)).then_some(after)
}

/// What follows an `E''` string. Beyond ASCII a backslash may be the second half of a character.
fn after_escape_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match rest {
            [b'\\', escaped, after @ ..] if escaped.is_ascii() => rest = after,
            [b'\'', b'\'', after @ ..] => rest = after,
            [b'\'', after @ ..] => return Some(after),
            [byte, after @ ..] if byte.is_ascii() && !matches!(byte, 0 | b'\\') => rest = after,
            _ => return None,
        }
    }
}

/// What follows a string in dollar quotes; `rest` starts with the first dollar sign.
fn after_dollar_string(rest: &[u8]) -> Option<&[u8]> {
    let tag_length = rest[1..].iter().position(|byte| *byte == b'$')? + 2;
    let (tag, body) = rest.split_at(tag_length);
    let name = &tag[1..tag_length - 1];
    let proper =
        name.first().is_none_or(|byte| starts_word(*byte)) && name.iter().all(|byte| continues_word(*byte));
    if !proper {
        return None;
    }
    let end = body.windows(tag_length).position(|window| window == tag)?;
    Some(&body[end + tag_length..])
}
