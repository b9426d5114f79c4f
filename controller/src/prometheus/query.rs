//! Placeholders in queries, each replaced by a value that cannot be anything but text in its place.

use crate::api::nearest::hint;
use std::fmt::Write as _;
use thiserror::Error;

/// Whom a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `{{namespace}}`
    pub namespace: String,
    /// `{{split}}`
    pub split: String,
    /// `{{subset}}`
    pub subset: String,
    /// `{{version}}`
    pub version: String,
}

const NAMES: [&str; 4] = ["namespace", "split", "subset", "version"];

/// Why a query cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// No such placeholder.
    #[error(
        "the query has {{{{{name}}}}}, which is none of {{{{namespace}}}}, {{{{split}}}}, {{{{subset}}}}, {{{{version}}}}{hint}"
    )]
    Unknown {
        /// What stands between the braces.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// Opened and not closed.
    #[error("the query has {{{{ without }}}} behind it: \"{0}\"")]
    Open(String),
    /// Where a value could change the meaning of the query.
    #[error("{{{{{0}}}}} must stand inside quotes, as in subset=\"{{{{subset}}}}\"")]
    Unquoted(String),
    /// Between backticks nothing can be escaped.
    #[error("{{{{{0}}}}} stands between backticks, where its value cannot be escaped; use double quotes")]
    Backticks(String),
}

/// Where in the query we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    /// In a string that this closes; `pattern` if a regular expression is matched with it.
    Inside {
        quote: char,
        pattern: bool,
    },
    /// From a # to the end of the line.
    Comment,
}

/// The query about this subject.
pub fn fill(template: &str, subject: &Subject) -> Result<String, QueryError> {
    let mut filled = String::with_capacity(template.len() + 32);
    let mut place = Place::Outside;
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("{{") {
            let cut = || rest.chars().take(30).collect::<String>();
            let (name, behind) = after.split_once("}}").ok_or_else(|| QueryError::Open(cut()))?;
            let name = name.trim();
            let value = subject.value(name).ok_or_else(|| unknown(name))?;
            match place {
                Place::Outside => return Err(QueryError::Unquoted(name.to_owned())),
                Place::Inside { quote: '`', .. } => return Err(QueryError::Backticks(name.to_owned())),
                Place::Inside { pattern, .. } => escape(value, pattern, &mut filled),
                Place::Comment => {}
            }
            rest = behind;
            continue;
        }
        let behind = &rest[c.len_utf8()..];
        match place {
            Place::Outside if matches!(c, '"' | '\'' | '`') => {
                let before = filled.trim_end();
                let pattern = before.ends_with("=~") || before.ends_with("!~");
                place = Place::Inside { quote: c, pattern };
            }
            Place::Outside if c == '#' => place = Place::Comment,
            Place::Comment if c == '\n' => place = Place::Outside,
            Place::Inside { quote, .. } if c == quote => place = Place::Outside,
            Place::Inside { quote, .. } if c == '\\' && quote != '`' => {
                // Whatever is escaped, it does not close the string.
                filled.push(c);
                let Some(escaped) = behind.chars().next() else { break };
                filled.push(escaped);
                rest = &behind[escaped.len_utf8()..];
                continue;
            }
            _ => {}
        }
        filled.push(c);
        rest = behind;
    }
    Ok(filled)
}

impl Subject {
    fn value(&self, name: &str) -> Option<&str> {
        match name {
            "namespace" => Some(&self.namespace),
            "split" => Some(&self.split),
            "subset" => Some(&self.subset),
            "version" => Some(&self.version),
            _ => None,
        }
    }
}

fn unknown(name: &str) -> QueryError {
    QueryError::Unknown { name: name.to_owned(), hint: hint(name, NAMES) }
}

/// Writes a value for a quoted string; in a pattern, so that it matches itself only. Both quotes are written as numbers,
/// because PromQL knows `\'` only between single quotes and `\"` only between double ones.
fn escape(value: &str, pattern: bool, into: &mut String) {
    for c in value.chars() {
        if pattern && r"\.+*?()|[]{}^$".contains(c) {
            into.push_str(r"\\");
        }
        match c {
            '\\' => into.push_str(r"\\"),
            '\n' => into.push_str(r"\n"),
            '"' | '\'' | '\0'..='\x1f' | '\x7f' => drop(write!(into, r"\x{:02x}", u32::from(c))),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, subset: &str) -> Result<String, QueryError> {
        let [namespace, split, version] = ["shop", "cart", "v1.2"].map(str::to_owned);
        fill(template, &Subject { namespace, split, subset: subset.to_owned(), version })
    }

    #[test]
    fn every_placeholder_is_replaced() {
        let query = r#"rate(x{n="{{namespace}}",s="{{ split }}",u='{{subset}}',v="a-{{version}}"}[1m])"#;
        assert_eq!(filled(query, "canary").unwrap(), r#"rate(x{n="shop",s="cart",u='canary',v="a-v1.2"}[1m])"#);
        assert_eq!(filled("vector(1)", "canary").unwrap(), "vector(1)");
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let evil = "a\"} or vector(0) #'\\\n\x07{{split}}";
        assert_eq!(
            filled(r#"x{s="{{subset}}"}"#, evil).unwrap(),
            r#"x{s="a\x22} or vector(0) #\x27\\\n\x07{{split}}"}"#
        );
    }

    #[test]
    fn in_a_pattern_a_value_matches_only_itself() {
        assert_eq!(filled(r#"x{v=~"{{version}}-.*"}"#, "").unwrap(), r#"x{v=~"v1\\.2-.*"}"#);
        assert_eq!(filled(r#"x{v!~ '{{subset}}'}"#, r"a\b|c").unwrap(), r#"x{v!~ 'a\\\\b\\|c'}"#);
        assert_eq!(filled(r#"x{v="{{version}}"}"#, "").unwrap(), r#"x{v="v1.2"}"#);
    }

    #[test]
    fn quotes_are_followed_as_promql_does() {
        for (template, quoted) in [
            (r#"x{a="\"",s="{{subset}}"}"#, true),
            (r#"x{a="\"{{subset}}"}"#, true),
            (r#"x{a='"'} + {{subset}}"#, false),
            ("x{a=`\\`} + {{subset}}", false),
            (r#"x{a="b"}{{subset}}"#, false),
        ] {
            let got = filled(template, "v2");
            let expected = if quoted {
                Ok(template.replace("{{subset}}", "v2"))
            } else {
                Err(QueryError::Unquoted("subset".to_owned()))
            };
            assert_eq!(got, expected, "{template}");
        }
        assert_eq!(filled("x{a=`{{subset}}`}", "v2"), Err(QueryError::Backticks("subset".to_owned())));
        assert_eq!(filled("x # it's {{subset}}\n+ y", "v2").unwrap(), "x # it's \n+ y");
        assert_eq!(filled("x{a=\"\\", "v2").unwrap(), "x{a=\"\\");
    }

    #[test]
    fn an_unknown_or_open_placeholder_is_refused_with_what_is_meant() {
        let why = filled(r#"x{s="{{subsett}}"}"#, "v2").unwrap_err().to_string();
        assert!(
            why.contains("{{subsett}}, which is none of {{namespace}}") && why.contains("did you mean \"subset\""),
            "{why}"
        );
        let why = filled(r#"x{s="{{subset"}"#, "v2").unwrap_err().to_string();
        assert!(why.contains("without }}"), "{why}");
    }
}
