//! A CanaryTest from written to meant.

use super::{
    Test,
    content::{Written, content},
    parts,
};
use crate::api::{
    accept::{Refusal, refuse},
    canary_test::CanaryTestSpec,
    percent::WHOLE,
};
use std::time::Duration;

/// Unless given.
const REPLICAS: u32 = 1;
const MAX_REPLICAS: u32 = 10_000;

/// What this document means.
pub fn test(name: String, written: &CanaryTestSpec) -> Result<Test, Refusal> {
    let at = |field: &'static str| ["spec".into(), field.into()];
    let (version, content) = content(&Written {
        workload: written.workload.as_deref(),
        version: written.version.as_deref(),
        images: Some(&written.images),
        patch: written.patch.as_ref(),
        template: None,
    })?;
    let command = parts::command(written.workloads.as_ref())?;
    let mut splits = Vec::new();
    for (i, (split, steps)) in parts::splits(&name, &written.splits)?.into_iter().enumerate() {
        if !steps.is_empty() {
            return refuse(
                ["spec".into(), "splits".into(), i.into(), "steps".into()],
                "a CanaryTest has no steps; its weight is the same in every split",
            );
        }
        splits.push(split);
    }
    let weight = match written.weight.thousandths() {
        Ok(weight) if weight <= WHOLE / 2 => weight,
        Ok(_) => {
            let message = format!(
                "weight {} is above 50: a test never takes most of the traffic; use a CanaryDeploy to go on",
                written.weight
            );
            return refuse(at("weight"), message);
        }
        Err(why) => return refuse(at("weight"), format!("weight {} {why}", written.weight)),
    };
    let replicas = written.replicas.unwrap_or(REPLICAS);
    if replicas > MAX_REPLICAS {
        return refuse(
            at("replicas"),
            format!("{replicas} replicas are too many; at most {MAX_REPLICAS} are accepted"),
        );
    }
    if weight > 0 && replicas == 0 {
        return refuse(at("replicas"), "no pod would answer the canary's requests; give it replicas, or weight: 0");
    }
    let least = Duration::from_millis(1);
    let duration = written.duration.as_deref();
    let duration = duration.map(|text| parts::millis(Some(text), least, least, at("duration"))).transpose()?;
    Ok(Test {
        workload: written.workload.clone(),
        version,
        images: written.images.clone(),
        content,
        command,
        splits,
        weight,
        replicas,
        duration,
        name,
    })
}
