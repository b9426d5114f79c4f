//! Reads the folder: which files count, which of them changed, which are not to be trusted yet.
//!
//! Files end in .yaml, .yml or .json; hidden files and editors' temporaries are left alone; subfolders are not entered.
//! Links are followed, so a mounted ConfigMap works.

use super::plan::Source;
use crate::api::document;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// A file that has vanished counts as deleted when it is still away after this long: editors that save by renaming
/// leave a gap.
pub const GAP: Duration = Duration::from_millis(250);
/// Longest file that is read.
const MAX_FILE: u64 = 16 << 20;

/// Whether a file of this name is meant for us.
pub fn counts(name: &str) -> bool {
    let right_end = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    right_end && !name.starts_with(['.', '#'])
}

/// Tells one state of a file from another.
type Fingerprint = (u64, u64, u64, i64, i64, i64, i64);

#[derive(Debug)]
struct Seen {
    fingerprint: Option<Fingerprint>,
    text: String,
    source: Source,
    missing_since: Option<Duration>,
}

/// A folder and what was last seen in it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    seen: BTreeMap<String, Seen>,
}

impl Folder {
    /// Nothing seen yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: BTreeMap::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks again. `touched`: files known to have changed; `thorough`: read everything, whatever its time stamps say;
    /// `unfinished`: files somebody is writing right now, which are left as they were.
    ///
    /// Fails only when the folder itself cannot be listed; then what was seen stays.
    pub fn look(
        &mut self,
        touched: &BTreeSet<String>,
        thorough: bool,
        unfinished: &BTreeSet<String>,
        now: Duration,
    ) -> io::Result<()> {
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().filter(|name| counts(name)) {
                there.insert(name.to_owned());
            }
        }
        for name in &there {
            if !unfinished.contains(name) {
                let again = thorough || touched.contains(name);
                self.read(name, again, now);
            }
        }
        for (name, seen) in &mut self.seen {
            if !there.contains(name) && seen.missing_since.is_none() {
                seen.missing_since = Some(now);
            }
        }
        self.seen.retain(|_, seen| seen.missing_since.is_none_or(|since| now.saturating_sub(since) < GAP));
        Ok(())
    }

    /// How long until a vanished file counts as deleted.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        let missing = self.seen.values().filter_map(|seen| seen.missing_since);
        missing.min().map(|since| (since + GAP).saturating_sub(now))
    }

    /// All files, in order of name.
    pub fn sources(&self) -> Vec<Source> {
        self.seen.values().map(|seen| seen.source.clone()).collect()
    }

    /// The text of a file as it was last read.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.seen.get(file).map(|seen| seen.text.as_str())
    }

    /// We wrote this file ourselves.
    pub fn wrote(&mut self, file: &str, text: String) {
        if let Some(seen) = self.seen.get_mut(file) {
            seen.source.documents = document::read(&text);
            (seen.text, seen.fingerprint) = (text, None);
        }
    }

    fn read(&mut self, name: &str, again: bool, now: Duration) {
        let path = self.path.join(name);
        let fingerprint = fs::metadata(&path)
            .ok()
            .filter(|m| m.is_file())
            .map(|m| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()));
        if let Some(seen) = self.seen.get_mut(name) {
            let same = seen.fingerprint.is_some() && seen.fingerprint == fingerprint;
            if same && !again && seen.missing_since.is_none() {
                return;
            }
        }
        match read_text(&path) {
            Ok(text) => {
                let seen = self.seen.entry(name.to_owned()).or_insert_with(|| Seen {
                    fingerprint: None,
                    text: String::new(),
                    source: Source { file: name.to_owned(), ..Source::default() },
                    missing_since: None,
                });
                if seen.text != text || seen.source.fault.is_some() {
                    seen.source.documents = document::read(&text);
                    seen.text = text;
                }
                seen.source.fault = None;
                (seen.fingerprint, seen.missing_since) = (fingerprint, None);
            }
            // Gone between listing and reading.
            Err(why) if why.kind() == io::ErrorKind::NotFound && self.seen.contains_key(name) => {
                if let Some(seen) = self.seen.get_mut(name) {
                    seen.missing_since.get_or_insert(now);
                }
            }
            Err(why) => {
                let fault = format!("cannot read the file ({why}); what it said before stays in force");
                let source = Source { file: name.to_owned(), documents: Vec::new(), fault: Some(fault) };
                let seen = Seen { fingerprint: None, text: String::new(), source, missing_since: None };
                self.seen.insert(name.to_owned(), seen);
            }
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other(format!("longer than {} MiB", MAX_FILE >> 20)));
    }
    String::from_utf8(fs::read(path)?).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        io::Error::other(format!("not UTF-8 at byte {at}"))
    })
}
