//! The folder as it is watched for real: partial writes, renames, deletions.

use crate::{
    serve::start,
    support::{backend, yaml},
};
use std::{
    fs::{self, File},
    io::Write,
    time::Duration,
};

const PATH: &str = "/v1/splits/default/backend";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_only_when_its_writer_has_closed_it() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let more = yaml("other", &[("v1", 1)], "");
    // One write at a time, as a slow program would do it. Cut after any of them the file would mean something else.
    let mut file = File::create(running.dir.path().join("a.yaml")).unwrap();
    for piece in [backend(50, 5).trim_end_matches(" }\n"), "0 }\n", "---\n", &more] {
        file.write_all(piece.as_bytes()).unwrap();
        file.flush().unwrap();
        // The pace of the writer; nothing is waited for.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let split = running.get(PATH).await;
        assert_eq!((&split["generation"], split["problems"].as_array().unwrap().len()), (&1.into(), 0), "{split:#}");
    }
    drop(file);
    let split = running.until(PATH, |s| s["generation"] == 2).await;
    assert_eq!(split["subsets"][1]["weight"], 50);
    running.until("/v1/splits", |s| s["splits"].as_array().unwrap().len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saving_as_editors_do_is_one_change() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let path = |name: &str| running.dir.path().join(name);
    // vim: try the folder, move the old file away, write a new one, remove the old one.
    fs::write(path("4913"), "").unwrap();
    fs::remove_file(path("4913")).unwrap();
    fs::rename(path("a.yaml"), path("a.yaml~")).unwrap();
    fs::write(path("a.yaml"), backend(80, 20)).unwrap();
    fs::remove_file(path("a.yaml~")).unwrap();
    running.until(PATH, |s| s["generation"] == 2).await;
    // Others: write beside it, rename over it.
    fs::write(path("a.yaml.tmp"), backend(70, 30)).unwrap();
    fs::rename(path("a.yaml.tmp"), path("a.yaml")).unwrap();
    let split = running.until(PATH, |s| s["generation"] == 3).await;
    assert_eq!((&split["subsets"][0]["weight"], split["problems"].as_array().unwrap().len()), (&70.into(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_deletes_its_split_and_a_new_one_brings_it_back() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    fs::remove_file(running.dir.path().join("a.yaml")).unwrap();
    running.until("/v1/splits", |s| s["splits"].as_array().unwrap().is_empty()).await;
    fs::write(running.dir.path().join("b.yaml"), backend(90, 10)).unwrap();
    running.until(PATH, |s| s["generation"] == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_replaced_is_watched_again() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let dir = running.dir.path();
    let away = dir.with_extension("away");
    fs::rename(dir, &away).unwrap();
    running.until("/v1/splits", |s| s["problems"][0]["message"].to_string().contains("stays as it was")).await;
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("a.yaml"), backend(60, 40)).unwrap();
    // The state folder went with the old one, so nothing may come into force that would be forgotten.
    running.until("/v1/splits", |s| s["problems"][0]["message"].to_string().contains("cannot write the state")).await;
    fs::create_dir(dir.join(".sluicegate")).unwrap();
    running.until(PATH, |s| s["generation"] == 2).await;
    fs::remove_dir_all(away).unwrap();
}
