//! Sees every version of the objects of one kind that was ever written, in order, whatever happens to the API server.
//!
//! In: etcd, which has custom resources as JSON. Out: the versions. An etcd that is away is waited for; versions that it
//! forgot meanwhile are an error, since then nobody can say what was there.

use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ureq::Agent;

use super::PATIENCE;
use crate::poll;

/// Asks again after so long, to see whether it is still wanted.
const TURN: Duration = Duration::from_secs(3);

/// The thread that looks. Dropping it ends it.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
    etcd: Etcd,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    seen: Mutex<Vec<Version>>,
}

#[derive(Clone, Debug)]
struct Version {
    /// Of everything that etcd has.
    revision: u64,
    /// Counts the versions of this object, so that none can be missed.
    number: u64,
    object: Value,
}

/// The keys of a kind in a namespace.
#[derive(Clone, Debug)]
struct Etcd {
    agent: Agent,
    url: String,
    /// `/registry/GROUP/PLURAL/NAMESPACE/`.
    prefix: String,
}

impl Witness {
    /// From now on, of this kind of ours in a namespace. `url`: of etcd.
    pub(super) fn start(url: String, plural: &str, namespace: &str) -> Result<Self> {
        let agent = Agent::config_builder().timeout_recv_body(Some(TURN)).build().into();
        let etcd = Etcd { agent, url, prefix: format!("/registry/sluicegate.dev/{plural}/{namespace}/") };
        let shared = Arc::new(Shared::default());
        let mut after = number(&etcd.ask("kv/range", &json!({ "key": to_base64(b"/") }))?["header"]["revision"]);
        let (worker, own) = (Arc::clone(&shared), etcd.clone());
        thread::Builder::new().name("witness".into()).spawn(move || {
            while !worker.stopped.load(Ordering::Relaxed) {
                // Ends with an error when nothing happens for a while, or etcd is away.
                if own.follow(&worker, &mut after).is_err() {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        })?;
        Ok(Self { shared, etcd })
    }

    /// Every version so far of the object of this name, up to what it is now.
    ///
    /// # Errors
    /// When some cannot be told any more, or etcd does not answer.
    pub fn versions(&self, name: &str) -> Result<Vec<Value>> {
        let key = format!("{}{name}", self.etcd.prefix);
        let now = self.etcd.ask("kv/range", &json!({ "key": to_base64(key.as_bytes()) }))?;
        let newest = number(&now["kvs"][0]["mod_revision"]);
        poll::until("the witness to have seen the newest version", PATIENCE, || {
            let seen = lock(&self.shared.seen);
            let all: Vec<_> = seen.iter().filter(|one| one.object["metadata"]["name"] == name).cloned().collect();
            ensure!(all.last().is_some_and(|last| last.revision >= newest), "{} versions", all.len());
            Ok(all)
        })
        .and_then(|all| {
            let follow = |two: &[Version]| two[1].number == two[0].number + 1 || two[1].number == 1;
            ensure!(all.windows(2).all(follow), "versions of {name} were forgotten before they were seen");
            Ok(all.into_iter().map(|one| one.object).collect())
        })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Etcd {
    fn ask(&self, what: &str, body: &Value) -> Result<Value> {
        let mut answer = self.agent.post(format!("{}/v3/{what}", self.url)).send_json(body).context("etcd")?;
        answer.body_mut().read_json().context("etcd")
    }

    fn follow(&self, shared: &Shared, after: &mut u64) -> Result<()> {
        let mut end = self.prefix.clone().into_bytes();
        // The first key that does not begin with it: it ends with a slash.
        end.pop();
        end.push(b'/' + 1);
        let (key, range_end) = (to_base64(self.prefix.as_bytes()), to_base64(&end));
        let create = json!({ "create_request": { "key": key, "range_end": range_end, "start_revision": (*after + 1).to_string() } });
        let answer = self.agent.post(format!("{}/v3/watch", self.url)).send_json(&create)?;
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let told: Value = serde_json::from_str(&line?)?;
            // Older ones were forgotten; whether one of ours was among them shows in their numbers.
            *after = number(&told["result"]["compact_revision"]).saturating_sub(1).max(*after);
            for event in told["result"]["events"].as_array().into_iter().flatten() {
                *after = number(&event["kv"]["mod_revision"]);
                let value = event["kv"]["value"].as_str().map(from_base64).unwrap_or_default();
                // A deletion has none.
                if let Ok(object) = serde_json::from_slice(&value) {
                    let number = number(&event["kv"]["version"]);
                    lock(&shared.seen).push(Version { revision: *after, number, object });
                }
            }
        }
        Ok(())
    }
}

/// Numbers are text in the JSON of etcd.
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let of_three = |three: &[u8]| {
        let all = (0..3).fold(0_u32, |all, at| all << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        let digit = move |at: usize| match at <= three.len() {
            true => char::from(DIGITS[(all >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(of_three).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    let (mut all, mut bits, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        (all, bits) = (all << 6 | digit as u32, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((all >> bits & 0xFF) as u8);
        }
    }
    bytes
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_length_comes_back_from_base64() {
        for (text, coded) in
            [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("/registry/?", "L3JlZ2lzdHJ5Lz8=")]
        {
            assert_eq!((to_base64(text.as_bytes()), from_base64(coded)), (coded.to_owned(), text.as_bytes().to_vec()));
        }
    }
}
