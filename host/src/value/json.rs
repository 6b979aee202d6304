//! A pull reader of JSON text (RFC 8259). The codec asks for what the type expects next, so there is no tree between
//! text and value, numbers keep every digit, and the depth of a hostile text never matters: nothing is read that the
//! type does not call for.

use std::borrow::Cow;

use super::path::Refused;
use super::room::Room;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {what} at byte {at}")]
pub(super) struct Syntax {
    what: &'static str,
    at: usize,
}

/// What a value is, seen from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
    /// The text ends here.
    End,
    /// No value begins so.
    Other,
}

/// Reads a text from front to back.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// What values may take; without it, anything.
    room: Option<&'a mut Room>,
}

/// Characters of a found value that an error shows.
const EXCERPT_CHARS_MAX: usize = 40;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, room: None }
    }

    /// For values that together take no more than there is room for.
    pub(super) fn within(text: &'a str, room: &'a mut Room) -> Self {
        Self { text, at: 0, room: Some(room) }
    }

    /// Counts what a value takes, before it is made.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Refused> {
        self.room.as_mut().map_or(Ok(()), |room| room.take(bytes))
    }

    /// Looks at the next value.
    pub(super) fn kind(&mut self) -> Kind {
        match self.peek() {
            None => Kind::End,
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            Some(_) => Kind::Other,
        }
    }

    pub(super) fn null(&mut self) -> Result<(), Syntax> {
        if self.word("null") { Ok(()) } else { Err(self.error("expected null")) }
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Syntax> {
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            Err(self.error("expected true or false"))
        }
    }

    /// A number's text, as it stands.
    pub(super) fn number(&mut self) -> Result<&'a str, Syntax> {
        self.peek();
        let length = number_length(&self.text.as_bytes()[self.at..])
            .ok_or_else(|| self.error("a malformed number"))?;
        let number = &self.text[self.at..self.at + length];
        self.at += length;
        Ok(number)
    }

    /// A string's content; borrowed when nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        let start = self.at;
        let plain = self.plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut content = self.text[start..self.at].to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(content));
                }
                Some(b'\\') => content.push(self.escape()?),
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("the text ends within a string")),
            }
            content.push_str(self.plain());
        }
    }

    /// Steps into an array (`[`) or object (`{`).
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), Syntax> {
        if self.peek() != Some(bracket) {
            return Err(self.error(if bracket == b'[' { "expected an array" } else { "expected an object" }));
        }
        self.at += 1;
        Ok(())
    }

    /// Moves to the next item of the array or object that was stepped into, or out of it: then `false`. `first` is
    /// `true` right after [`Self::open`] and belongs to this call.
    pub(super) fn item(&mut self, first: &mut bool, close: u8) -> Result<bool, Syntax> {
        let begins = std::mem::replace(first, false);
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !begins => {
                self.at += 1;
                if self.peek() == Some(close) { Err(self.error("a comma before the end")) } else { Ok(true) }
            }
            Some(_) if begins => Ok(true),
            _ => Err(self.error("expected a comma or the end of an array or object")),
        }
    }

    /// A member's name and colon.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, Syntax> {
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        Ok(name)
    }

    /// Checks that nothing follows.
    pub(super) fn finish(&mut self) -> Result<(), Syntax> {
        if self.peek().is_none() { Ok(()) } else { Err(self.error("more text after the value")) }
    }

    /// Where the next value begins.
    pub(super) fn mark(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// [`Self::found`] for a value that was already read.
    pub(super) fn found_at(&self, mark: usize) -> String {
        Reader { at: mark, ..Reader::new(self.text) }.found()
    }

    /// The next value for an error: its kind and how it begins.
    pub(super) fn found(&mut self) -> String {
        let kind = match self.kind() {
            Kind::Null => return "null".into(),
            Kind::Array => return "an array".into(),
            Kind::Object => return "an object".into(),
            Kind::End => return "the end of the text".into(),
            Kind::Bool => return if self.word("true") { "true" } else { "false" }.into(),
            Kind::Number => "number ",
            Kind::String => "string ",
            Kind::Other => "",
        };
        let rest = &self.text[self.at..];
        let length = match kind {
            "number " => number_length(rest.as_bytes()).unwrap_or(rest.len()),
            "string " => Reader::new(rest).string_length().unwrap_or(rest.len()),
            _ => rest.len(),
        };
        let value = &rest[..length];
        match value.char_indices().nth(EXCERPT_CHARS_MAX) {
            Some((end, _)) => format!("{kind}{}...", &value[..end]),
            None => format!("{kind}{value}"),
        }
    }

    fn string_length(mut self) -> Option<usize> {
        self.string().ok()?;
        Some(self.at)
    }

    /// Skips white space, then looks at a byte.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let is = self.text[self.at..].starts_with(word);
        if is {
            self.at += word.len();
        }
        is
    }

    /// What stands before the next quote, backslash or control character.
    fn plain(&mut self) -> &'a str {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
        let plain = &self.text[self.at..self.at + length];
        self.at += length;
        plain
    }

    /// An escape, from its backslash on.
    fn escape(&mut self) -> Result<char, Syntax> {
        self.at += 1;
        let escaped = self.byte().ok_or_else(|| self.error("the text ends within a string"))?;
        let character = match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.error("an unknown escape")),
        };
        self.at += 1;
        Ok(character)
    }

    /// `uXXXX`, or the surrogate pair `uXXXX\uXXXX`.
    fn unicode(&mut self) -> Result<char, Syntax> {
        let unit = self.code_unit()?;
        if !(0xd800..0xe000).contains(&unit) {
            return char::from_u32(unit).ok_or_else(|| self.error("an escape that is no character"));
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(self.error("half of a surrogate pair"));
        }
        self.at += 1;
        let low = self.code_unit()?;
        let pair = (unit < 0xdc00 && (0xdc00..0xe000).contains(&low))
            .then(|| 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        pair.and_then(char::from_u32).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    /// The number in `uXXXX`.
    fn code_unit(&mut self) -> Result<u32, Syntax> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let unit = digits.and_then(|digits| {
            digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
        });
        let unit = unit.ok_or_else(|| self.error("an escape without four hexadecimal digits"))?;
        self.at += 5;
        Ok(unit)
    }

    fn error(&self, what: &'static str) -> Syntax {
        Syntax { what, at: self.at }
    }
}

/// The length of the number that `text` begins with, if it is one: `-? (0 | [1-9][0-9]*) (.[0-9]+)? ([eE][+-]?[0-9]+)?`.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    match digits(at) {
        0 => return None,
        more if more > 1 && text[at] == b'0' => return None,
        more => at += more,
    }
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        at = (fraction > 0).then_some(at + 1 + fraction)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let signed = at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(signed.min(text.len()));
        at = (exponent > 0).then_some(signed + exponent)?;
    }
    Some(at)
}

/// `text` is decimal digits with at most a minus before them, as a JSON number would write an integer.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    number_length(text.as_bytes()) == Some(text.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `text` is one JSON value.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
