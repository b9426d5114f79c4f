//! JSON (RFC 8259) as a value, for the plugin configuration only. serde_json with derived readers is 40 KB of code in
//! the module, a third of what it may weigh; this is 3 KB. Its tests hold it against serde_json.

use thiserror::Error;

/// Objects and lists may be nested this deep; a plugin configuration is 3 deep.
const DEPTH: usize = 16;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A string.
    String(String),
    /// An array.
    List(Vec<Self>),
    /// An object; a name given twice is refused.
    Object(Vec<(String, Self)>),
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not JSON at byte {at}: {why}")]
pub struct NotJson {
    /// Where reading stopped.
    pub at: usize,
    /// What was wrong there.
    pub why: &'static str,
}

impl Value {
    /// Reads a whole text.
    pub fn parse(text: &[u8]) -> Result<Self, NotJson> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(DEPTH)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { reader.fail("text behind the end") }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, why: &'static str) -> Result<T, NotJson> {
        Err(NotJson { at: self.at, why })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().iter().take_while(|b| b" \t\r\n".contains(b)).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.space();
        match self.peek() {
            Some(b'{') if depth > 0 => self.object(depth - 1),
            Some(b'[') if depth > 0 => self.list(depth - 1),
            Some(b'{' | b'[') => self.fail("nested too deeply"),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value, NotJson> {
        let words = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        for (word, value) in words {
            if self.rest().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail("expected a value")
    }

    fn object(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.at += 1;
        let mut fields: Vec<(String, Value)> = Vec::new();
        if self.eat(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            let name =
                if self.peek() == Some(b'"') { self.string()? } else { return self.fail("expected a name in quotes") };
            if fields.iter().any(|(known, _)| *known == name) {
                return self.fail("this name is given twice");
            }
            if !self.eat(b':') {
                return self.fail("expected ':'");
            }
            fields.push((name, self.value(depth)?));
            match () {
                () if self.eat(b',') => {}
                () if self.eat(b'}') => return Ok(Value::Object(fields)),
                () => return self.fail("expected ',' or '}'"),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            match () {
                () if self.eat(b',') => {}
                () if self.eat(b']') => return Ok(Value::List(items)),
                () => return self.fail("expected ',' or ']'"),
            }
        }
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(String::from_utf8_lossy(digits).into_owned()))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let count = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { self.fail("expected a digit") }
    }

    fn string(&mut self) -> Result<String, NotJson> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let plain = self.rest().iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..0x20)).count();
            out.extend_from_slice(self.rest().get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(out).or_else(|_| self.fail("a string that is not UTF-8"));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let char = self.escape()?;
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return self.fail("a string without its closing quote"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let kind = self.peek();
        self.at += 1;
        Ok(match kind {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.unit()?;
                let low = self.rest().starts_with(b"\\u");
                let code = match first {
                    0xD800..0xDC00 if low => {
                        self.at += 2;
                        // A second unit that is no low surrogate makes a code that is no character.
                        let second = self.unit()?.wrapping_sub(0xDC00);
                        if second < 0x400 { 0x10000 + ((first - 0xD800) << 10) + second } else { first }
                    }
                    code => code,
                };
                return char::from_u32(code).map_or_else(|| self.fail("half a surrogate pair"), Ok);
            }
            _ => return self.fail("an unknown escape"),
        })
    }

    fn unit(&mut self) -> Result<u32, NotJson> {
        let digits = self.rest().get(..4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let unit = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        unit.map_or_else(|| self.fail("expected four hex digits"), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same value as serde_json reads it; `None` where it refuses.
    fn by_serde(text: &[u8]) -> Option<serde_json::Value> {
        serde_json::from_slice(text).ok()
    }

    fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Value::Null, serde_json::Value::Null) => true,
            (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
            // serde_json reads the last digits of a fraction approximately.
            (Value::Number(a), serde_json::Value::Number(b)) => match (a.parse::<f64>(), b.as_f64()) {
                (Ok(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs(),
                _ => false,
            },
            (Value::String(a), serde_json::Value::String(b)) => a == b,
            (Value::List(a), serde_json::Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Object(a), serde_json::Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
            }
            _ => false,
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1e6..1e6).prop_map(|f: f64| f.into()),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_reads_what_serde_json_writes(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("JSON");
            prop_assert!(same(&Value::parse(text.as_bytes()).expect("read"), &value));
        }

        #[test]
        fn it_takes_and_refuses_damaged_text_as_serde_json_does(
            value in json(),
            at in any::<prop::sample::Index>(),
            with in prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\u0e-.tn \xff".to_vec())],
            how in 0..3_u8,
        ) {
            let mut text = serde_json::to_vec(&value).expect("JSON");
            let at = at.index(text.len());
            match how {
                0 => text[at] = with,
                1 => text.insert(at, with),
                _ => text.truncate(at),
            }
            match (Value::parse(&text), by_serde(&text)) {
                (Ok(ours), Some(theirs)) => prop_assert!(same(&ours, &theirs), "{}", String::from_utf8_lossy(&text)),
                // Ours refuses a name given twice, theirs refuses numbers out of range.
                (Err(why), Some(_)) => prop_assert_eq!(why.why, "this name is given twice"),
                (Ok(_), None) => prop_assert!(text.contains(&b'e') || text.contains(&b'E'), "{}", String::from_utf8_lossy(&text)),
                (Err(_), None) => {}
            }
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = [b"[".repeat(DEPTH), b"]".repeat(DEPTH)].concat();
        assert!(Value::parse(&deep).is_ok());
        assert_eq!(Value::parse(&b"[".repeat(1_000_000)).map_err(|e| e.why), Err("nested too deeply"));
    }
}
