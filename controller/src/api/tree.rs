//! Where in a YAML text each field is.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// A place in a text, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl Place {
    /// Of a location in a text that begins `lines` lines into the file.
    pub fn of(location: Location, lines: u64) -> Self {
        Self { line: location.line().max(1) + lines, column: location.column().max(1) }
    }
}

/// One step down a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Key(&'static str),
    /// Into a sequence.
    Index(usize),
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The places of a document; values are not kept.
#[derive(Debug)]
pub enum Tree {
    /// A mapping; keys that are not text are left out.
    Map(Vec<(String, Spanned<Self>)>),
    /// A sequence.
    List(Vec<Spanned<Self>>),
    /// Anything else.
    Scalar,
}

/// Reads the places of one document.
pub fn read(text: &str) -> Option<Spanned<Tree>> {
    serde_saphyr::from_str(text).ok()
}

/// The node at this path, or the deepest there is on the way to it.
pub fn deepest<'a>(root: &'a Spanned<Tree>, path: &[Step]) -> &'a Spanned<Tree> {
    let mut node = root;
    for step in path {
        match child(node, step) {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

/// The node at this path.
pub fn find<'a>(root: &'a Spanned<Tree>, path: &[Step]) -> Option<&'a Spanned<Tree>> {
    path.iter().try_fold(root, child)
}

fn child<'a>(node: &'a Spanned<Tree>, step: &Step) -> Option<&'a Spanned<Tree>> {
    match (&node.value, step) {
        (Tree::Map(entries), Step::Key(key)) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
        (Tree::List(items), Step::Index(index)) => items.get(*index),
        _ => None,
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Tree, D::Error> {
        inner.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TreeVisitor)
    }
}
