//! Offers: updates, and keeps what devices report of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::trouble::error;
use crate::http::{RawAnswer, Request};

const V1: &str = "/api/devices/v1/deployments/device/deployments";
const V2_NEXT: &str = "/api/devices/v2/deployments/device/deployments/next";

/// An update for one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The artifact's name; a device that has it already is offered nothing.
    pub artifact_name: String,
    /// Where the artifact is.
    pub uri: String,
    /// The device types it is for.
    pub device_types: Vec<String>,
}

/// What a device said about an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// The device's id.
    pub device: String,
    /// The update's id.
    pub deployment: String,
    /// `installing`, `failure`, …
    pub status: String,
}

#[derive(Debug, Default)]
pub(super) struct Deployments {
    pub(super) waiting: BTreeMap<String, Deployment>,
    pub(super) statuses: Vec<DeploymentStatus>,
}

impl Deployments {
    /// Answers anything below `deployments`; 404 for what is not known here.
    pub(super) fn answer(
        &mut self,
        device: &str,
        path: &str,
        request: &Request,
        v1_only: bool,
    ) -> Result<RawAnswer, RawAnswer> {
        let unknown = || error(404, "not found");
        let method = request.method.as_str();
        if path == V2_NEXT && method == "POST" && !v1_only {
            return Ok(self.next(device, &installed(&request.body, true)?));
        }
        let rest = path.strip_prefix(V1).ok_or_else(unknown)?;
        match (rest.trim_start_matches('/').split_once('/'), method) {
            (None, "GET") if rest == "/next" => {
                let name = queried(&request.path, "artifact_name");
                let kind = queried(&request.path, "device_type");
                match (name, kind) {
                    (Some(name), Some(_)) => Ok(self.next(device, name)),
                    _ => Err(error(400, "artifact_name and device_type are required")),
                }
            }
            (None, "POST") if rest == "/next" => {
                Ok(self.next(device, &installed(&request.body, false)?))
            }
            (Some((id, "status")), "PUT") => self.report(device, id, &request.body),
            (Some((_, "log")), "PUT") => Ok(nothing()),
            _ => Err(unknown()),
        }
    }

    fn next(&mut self, device: &str, installed: &str) -> RawAnswer {
        let Some(waiting) = self.waiting.get(device) else {
            return nothing();
        };
        if waiting.artifact_name == installed {
            let status = DeploymentStatus {
                device: device.to_owned(),
                deployment: waiting.id.clone(),
                status: "already-installed".to_owned(),
            };
            self.statuses.push(status);
            self.waiting.remove(device);
            return nothing();
        }
        let body = json!({
            "id": waiting.id,
            "artifact": {
                "id": "artifact",
                "artifact_name": waiting.artifact_name,
                "source": { "uri": waiting.uri, "expire": "2049-01-01T00:00:00Z" },
                "device_types_compatible": waiting.device_types,
            },
        });
        RawAnswer::typed(
            200,
            "application/json; charset=utf-8",
            body.to_string().into_bytes(),
        )
    }

    fn report(&mut self, device: &str, id: &str, body: &[u8]) -> Result<RawAnswer, RawAnswer> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| error(400, "cannot decode the status"))?;
        let status = body.get("status").and_then(Value::as_str);
        let status = status.ok_or_else(|| error(400, "status: cannot be blank."))?;
        self.statuses.push(DeploymentStatus {
            device: device.to_owned(),
            deployment: id.to_owned(),
            status: status.to_owned(),
        });
        let ended = ["success", "failure", "already-installed"].contains(&status);
        if ended
            && self
                .waiting
                .get(device)
                .is_some_and(|waiting| waiting.id == id)
        {
            self.waiting.remove(device);
        }
        Ok(nothing())
    }
}

/// The artifact a device says it has.
fn installed(body: &[u8], v2: bool) -> Result<String, RawAnswer> {
    let wrong = || {
        error(
            400,
            "device_provides: artifact_name and device_type are required",
        )
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong())?;
    let provides = if v2 {
        body.get("device_provides")
    } else {
        Some(&body)
    };
    let text = |name: &str| {
        let value = provides.and_then(|provides| provides.get(name));
        value.and_then(Value::as_str).ok_or_else(wrong)
    };
    let _required = text("device_type")?;
    text("artifact_name").map(str::to_owned)
}

fn queried<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let pairs = target.split_once('?')?.1.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn nothing() -> RawAnswer {
    RawAnswer {
        status: 204,
        ..RawAnswer::default()
    }
}
