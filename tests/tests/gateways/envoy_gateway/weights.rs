//! Weights of a split, from `kubectl` to the pods.

use anyhow::Result;
use sluicegate_tests::gateways::Gateways;

use super::service;
use crate::splits::{expect, give};

pub(super) fn requests_follow_the_weights_once_they_are_acked(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "founding", true)?;
    for canary in [10, 50, 100, 0, 10] {
        give(gateways, "founding", canary, 1)?;
        expect(&site, canary, "")?;
    }
    Ok(())
}

pub(super) fn a_client_chooses_nothing_on_any_rule(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "choosing", true)?;
    for canary in [0, 10, 100] {
        give(gateways, "choosing", canary, 1)?;
        for value in ["canary", "main", "baseline", "nobody", ""] {
            expect(&site, canary, &format!("x-sluicegate-subset: {value}\r\n"))?;
        }
    }
    Ok(())
}
