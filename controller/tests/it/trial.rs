//! The weight of a CanaryTest by hand: into the user's file, and who and why into the history.

use crate::serve::{Running, obey_from, request, start};
use serde_json::{Value, json};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::Duration,
};

const FILE: &str = "\
# Tried at night
apiVersion: sluicegate.dev/v1alpha1
kind: CanaryTest
metadata: { name: app }
spec:
  version: v1 # what is tried
  weight: 0   # percent
  splits: [app]
  duration: 1h
---
apiVersion: sluicegate.dev/v1alpha1
kind: TrafficSplit
metadata: { name: app }
spec:
  subsets: [{ name: canary, weight: 0 }, { name: main, weight: 100 }] # these stay
";

const DEPLOY: &str = "\
apiVersion: sluicegate.dev/v1alpha1
kind: CanaryDeploy
metadata: { name: led }
spec: { version: v1, splits: [led], steps: [50] }
";

const APP: &str = "/v1/rollouts/default/app";
const WEIGHT: &str = "/v1/rollouts/default/app/weight";

/// A controller with a test that is off.
async fn off(files: &[(&str, &str)]) -> Running {
    let running = start(files).await;
    running.until(APP, |test| test["phase"] == "Off").await;
    running
}

/// A proxy that acks, and does not count: so nothing is probed.
fn proxy(running: &Running) {
    let mut first = request(1);
    first["abilities"]["counts"] = json!(false);
    first["subscription"] = json!({ "split": "default/app" });
    obey_from(running.proxy, first);
}

fn file(running: &Running) -> String {
    fs::read_to_string(running.dir.path().join("a.yaml")).unwrap()
}

/// What persons said, in order of time.
fn said(test: &Value) -> Vec<&str> {
    let history = test["history"].as_array();
    history
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["message"].as_str())
        .filter(|message| message.contains(" said "))
        .collect()
}

async fn weigh(running: &Running, body: Value) -> Value {
    let (status, view) = running.post(WEIGHT, body).await;
    assert_eq!(status, 200, "{view:#}");
    view
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_goes_into_the_users_file_and_who_and_why_outlive_a_restart() {
    let running = off(&[("a.yaml", FILE)]).await;
    let first = json!({ "weight": 0.5, "version": "nightly", "by": "ada", "reason": "last night's build" });
    let view = weigh(&running, first).await;
    assert_eq!(said(&view), ["ada said version v1 → nightly, weight 0 → 0.5 %: last night's build"]);
    assert_eq!((&view["test"]["weight"], &view["version"]), (&json!("0.5"), &json!("nightly")), "{view:#}");
    assert!(view["phase"] != "Off", "the answer shows what has come of it: {view:#}");
    let wanted = FILE.replace("version: v1", "version: nightly").replace("weight: 0   #", "weight: 0.5   #");
    assert_eq!(file(&running), wanted);
    let view = weigh(&running, json!({ "weight": 0.5, "by": "bob" })).await;
    assert_eq!(said(&view).len(), 1, "it was so already: {view:#}");
    let running = running.restart(|_| {}).await;
    running.until(APP, |test| said(test).len() == 1).await;
    let view = weigh(&running, json!({ "weight": 0, "by": "bob" })).await;
    assert_eq!(said(&view)[1], "bob said weight 0.5 → 0 %, which ends it");
    assert_eq!(file(&running), wanted.replace("weight: 0.5   #", "weight: 0   #"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_when_the_process_died_is_noted_after_it_if_the_file_says_so() {
    let running = off(&[("a.yaml", FILE)]).await;
    weigh(&running, json!({ "weight": 1, "by": "bob" })).await;
    let asked = |weight: u32| {
        json!({
            "at": "2026-01-01T00:00:00Z", "by": "ada", "reason": "just then", "weight": 1000, "version": "v1",
            "edit": { "weight": weight, "version": null }
        })
    };
    let died = |dir: &std::path::Path, weight: u32| {
        let path = dir.join(".sluicegate/rollouts/default_app.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        state["asked"] = asked(weight);
        fs::write(path, state.to_string()).unwrap();
    };
    let running = running
        .restart(|dir| {
            died(dir, 7_000);
            fs::write(dir.join("a.yaml"), FILE.replace("weight: 0   #", "weight: 7   #")).unwrap();
        })
        .await;
    let view = running.until(APP, |test| said(test).len() == 2).await;
    assert_eq!(said(&view)[1], "ada said weight 1 → 7 %: just then");
    // Never written: nobody is to answer for it, not even when somebody else writes the same later.
    let running = running.restart(|dir| died(dir, 9_000)).await;
    running.until(APP, |test| said(test).len() == 2).await;
    let path = running.dir.path().join(".sluicegate/rollouts/default_app.json");
    for _ in 0..500 {
        if !fs::read_to_string(&path).unwrap().contains("\"asked\"") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}", fs::read_to_string(&path).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_refused_with_a_lesson_and_noted_nowhere() {
    let led = FILE
        .split("---\n")
        .nth(1)
        .unwrap()
        .replace("main, weight: 100 }", "main, weight: 100 }, { name: baseline, weight: 0 }");
    let led = led.replace("name: app", "name: led");
    let running = off(&[("a.yaml", FILE), ("b.yaml", DEPLOY), ("c.yaml", &led)]).await;
    running.until("/v1/rollouts/default/led", |view| view["phase"] == "Idle").await;
    let ok = || json!({ "weight": 5, "by": "ada" });
    let no = async |path: &str, body: Value, wanted: u16, why: &str| {
        let (status, answer) = running.post(path, body).await;
        let told = answer["error"].as_str().unwrap_or_default();
        assert!(status == wanted && told.contains(why), "{status} {told:?} should be {wanted} and say {why:?}");
    };
    no("/v1/rollouts/default/nightly/weight", ok(), 404, "there is no rollout default/nightly").await;
    no("/v1/rollouts/default/led/weight", ok(), 409, "CanaryDeploy default/led goes by its steps").await;
    for (weight, why) in [
        (json!(50.001), "weight 50.001 is above 50: a test never takes most of the traffic; use a CanaryDeploy"),
        (json!(101), "weight 101 is above 100"),
        (json!(0.0001), "finer than a thousandth"),
        (json!(-1), "weight -1 is below 0"),
        (json!("five"), "is not a number of percent"),
    ] {
        no(WEIGHT, json!({ "weight": weight, "by": "ada" }), 422, why).await;
    }
    no(WEIGHT, json!({ "weight": 5, "by": " " }), 422, "by is empty").await;
    no(WEIGHT, json!({ "weight": 5, "by": "ada", "wait": 1 }), 422, "unknown field `wait`").await;
    no(WEIGHT, json!({ "weight": 5, "by": "ada", "version": "" }), 422, "version \"\" must be").await;

    let path = running.dir.path().join("a.yaml");
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    no(WEIGHT, ok(), 409, "cannot edit a.yaml: it is read-only").await;
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    // Where the new text is to be written first.
    let draft = running.dir.path().join(".a.yaml.sluicegate-tmp");
    fs::create_dir(&draft).unwrap();
    no(WEIGHT, ok(), 500, "cannot write a.yaml").await;
    fs::remove_dir(&draft).unwrap();
    // Where it is written down who asks.
    let draft = running.dir.path().join(".sluicegate/rollouts/.default_app.json.sluicegate-tmp");
    fs::create_dir(&draft).unwrap();
    no(WEIGHT, ok(), 500, "nothing has changed").await;
    fs::remove_dir(&draft).unwrap();
    assert_eq!(file(&running), FILE);
    for (broken, why) in [
        (FILE.replace("weight: 0   #", "weight: ten #"), "a.yaml:7:11: weight ten is not a number"),
        (FILE.replace("spec:\n  version", "spec: [\n  version"), "mend the file first"),
    ] {
        fs::write(&path, &broken).unwrap();
        running.until("/v1/splits", |splits| splits["problems"] != json!([])).await;
        no(WEIGHT, ok(), 409, why).await;
        assert_eq!(file(&running), broken);
        fs::write(&path, FILE).unwrap();
        running.until("/v1/splits", |splits| splits["problems"] == json!([])).await;
    }
    let view = running.get(APP).await;
    assert!(said(&view).is_empty() && view["phase"] == "Off", "{view:#}");
    weigh(&running, ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_whose_time_is_over_begins_again_and_tries_one_version_at_a_time() {
    let running = off(&[("a.yaml", &FILE.replace("1h", "400ms"))]).await;
    proxy(&running);
    running.until("/v1/splits/default/app", |split| split["acked"] == 1).await;
    weigh(&running, json!({ "weight": 20, "by": "ada" })).await;
    let on = |test: &Value| test["phase"] == "On" && test["weights"]["canary"] == "20";
    let view = running.until(APP, on).await;
    assert!(view["test"]["ends"].is_string(), "{view:#}");
    let other = running.post(WEIGHT, json!({ "weight": 20, "version": "v2", "by": "ada" })).await;
    assert!(other.0 == 409 && other.1.to_string().contains("tries v1 now: end that first"), "{other:?}");
    let view = running.until(APP, |test| test["phase"] == "Off").await;
    assert!(view["test"]["over"] == true && view["test"]["weight"] == "20", "{view:#}");
    let view = weigh(&running, json!({ "weight": 20, "by": "bob", "reason": "once more" })).await;
    assert_eq!(said(&view)[1], "bob said begins again, at 20 %: once more");
    running.until(APP, on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_weight_of_a_canary_test_waits_until_the_proxies_do_it() {
    let running = off(&[("a.yaml", FILE)]).await;
    let admin = format!("http://{}", running.admin);
    let set = async |args: &'static [&'static str]| {
        let admin = admin.clone();
        let run = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
            command.arg("set-weight").args(args).env("SLUICEGATE_ADMIN", admin).env("USER", "ada");
            command.stdin(Stdio::null()).output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = set(&["app", "5", "--timeout", "200ms"]).await;
    assert!(code == 1 && err.contains("not there within 200 ms; it waits for "), "{out}{err}");
    proxy(&running);
    let (code, out, err) = set(&["app", "12.5%", "--reason", "more", "--timeout", "60s"]).await;
    assert!(code == 0 && out.contains(" On ") && out.contains("canary=12.5%"), "{out}{err}");
    let (code, out, err) = set(&["app", "0", "--by", "bob", "--timeout", "60s"]).await;
    assert!(code == 0 && out.contains(" Off "), "{out}{err}");
    let (code, out, err) = set(&["app", "2", "--try", "v2", "--timeout", "60s"]).await;
    assert!(code == 0 && file(&running).contains("version: v2 #"), "{out}{err}");
    let said = running.get(APP).await;
    let said = self::said(&said);
    assert_eq!(said[1..3], ["ada said weight 5 → 12.5 %: more", "bob said weight 12.5 → 0 %, which ends it"]);
    for (args, code, why) in [
        (&["app", "60"][..], 1, "use a CanaryDeploy to go on"),
        (&["app", "5", "canary=1"], 1, "a CanaryTest has one weight"),
        (&["app", "canary=1", "--try", "v3"], 1, "--try is for a CanaryTest"),
        (&["app", "canary=1"], 1, "`sluicegate set-weight default/app PERCENT` changes them"),
        (&["app", "0.0001"], 2, "finer than a thousandth"),
        (&["nightly", "5"], 1, "there is no rollout default/nightly"),
    ] {
        let (got, out, err) = set(args).await;
        assert!(got == code && err.contains(why), "{args:?}: {got} {out}{err}");
    }
}
