//! Versions that a model declares.

use std::collections::BTreeMap;

use super::messages::ModelProto;
use crate::error::{Error, Result};

pub const LEAST_OPSET: i64 = 7;
pub const GREATEST_OPSET: i64 = 28;
const LEAST_IR_VERSION: i64 = 3;
const GREATEST_IR_VERSION: i64 = 14;
/// Operator set of what is written where the file's own is older than [`LEAST_KEPT_OPSET`].
const RAISED_OPSET: i64 = 17;
const LEAST_KEPT_OPSET: i64 = 13;

/// IR versions from the operator set on that needs them.
const IR_VERSIONS: [(i64, i64); 11] =
    [(28, 14), (25, 13), (24, 12), (23, 11), (21, 10), (19, 9), (15, 8), (12, 7), (11, 6), (10, 5), (9, 4)];

/// Smallest IR version that a file with this default operator set may declare.
pub fn least_ir_version(opset: i64) -> i64 {
    IR_VERSIONS.iter().find(|(least, _)| opset >= *least).map_or(LEAST_IR_VERSION, |(_, ir)| *ir)
}

/// Operator set in which a model of set `opset` is written.
pub fn output_opset(opset: i64) -> i64 {
    if opset < LEAST_KEPT_OPSET { RAISED_OPSET } else { opset }
}

/// The empty name, by which the default domain is known here.
pub fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Versions of the operator sets by domain, the default one under the empty name.
#[derive(Debug)]
pub struct Header {
    pub ir_version: i64,
    pub opset: i64,
    pub domains: BTreeMap<String, i64>,
}

/// # Errors
/// If versions are missing, contradict each other, or are outside of what zeroq reads.
pub fn read_header(model: &ModelProto) -> Result<Header> {
    let refuse = |message: String| Err(Error::InvalidModel(message));
    let ir_version = model.ir_version.unwrap_or(0);
    if ir_version < LEAST_IR_VERSION {
        return refuse(format!("IR version {ir_version} is too old or missing; zeroq reads {LEAST_IR_VERSION} to {GREATEST_IR_VERSION}"));
    }
    if ir_version > GREATEST_IR_VERSION {
        return refuse(format!("IR version {ir_version} is newer than {GREATEST_IR_VERSION}, the newest that zeroq reads"));
    }
    let domains = read_domains(model)?;
    let Some(opset) = domains.get("").copied() else {
        return refuse(
            "opset_import does not name the default operator set; add it with onnx.helper.make_opsetid(\"\", version)".to_string(),
        );
    };
    if !(LEAST_OPSET..=GREATEST_OPSET).contains(&opset) {
        return refuse(format!(
            "operator set {opset} is outside of {LEAST_OPSET} to {GREATEST_OPSET}, which zeroq reads; convert the model with onnx.version_converter"
        ));
    }
    Ok(Header { ir_version, opset, domains })
}

fn read_domains(model: &ModelProto) -> Result<BTreeMap<String, i64>> {
    let mut domains = BTreeMap::new();
    for import in &model.opset_import {
        let domain = canonical_domain(import.domain.as_deref().unwrap_or_default());
        let version = import.version.unwrap_or(0);
        if let Some(former) = domains.insert(domain.to_string(), version).filter(|former| *former != version) {
            return Err(Error::InvalidModel(format!("opset_import names domain `{domain}` with versions {former} and {version}")));
        }
    }
    Ok(domains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::OperatorSetIdProto;

    fn model(ir_version: i64, imports: &[(&str, i64)]) -> ModelProto {
        let import = |(domain, version): &(&str, i64)| OperatorSetIdProto { domain: Some(domain.to_string()), version: Some(*version) };
        ModelProto { ir_version: Some(ir_version), opset_import: imports.iter().map(import).collect(), ..Default::default() }
    }

    #[test]
    fn reads_versions() {
        let header = read_header(&model(8, &[("ai.onnx", 17), ("", 17), ("com.microsoft", 1)])).unwrap();
        assert_eq!((header.ir_version, header.opset, header.domains.len()), (8, 17, 2));
    }

    #[test]
    fn refuses_versions_it_does_not_read() {
        let cases: [(ModelProto, &str); 8] = [
            (model(2, &[("", 7)]), "IR version 2 is too old"),
            (model(99, &[("", 17)]), "IR version 99 is newer than 14"),
            (model(8, &[]), "does not name the default operator set"),
            (model(8, &[("com.microsoft", 1)]), "does not name the default operator set"),
            (model(8, &[("", 6)]), "operator set 6 is outside of 7 to 28"),
            (model(8, &[("", 99)]), "operator set 99 is outside of 7 to 28"),
            (model(8, &[("", -1)]), "operator set -1 is outside"),
            (model(8, &[("", 17), ("ai.onnx", 18)]), "versions 17 and 18"),
        ];
        for (model, wanted) in cases {
            let message = read_header(&model).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message} should say {wanted}");
        }
    }

    #[test]
    fn knows_the_ir_version_of_every_operator_set() {
        let wanted = [
            (7, 3),
            (9, 4),
            (12, 7),
            (13, 7),
            (14, 7),
            (15, 8),
            (17, 8),
            (18, 8),
            (19, 9),
            (20, 9),
            (21, 10),
            (22, 10),
            (23, 11),
            (28, 14),
        ];
        for (opset, ir_version) in wanted {
            assert_eq!(least_ir_version(opset), ir_version, "of operator set {opset}");
        }
        assert_eq!((output_opset(12), output_opset(13), output_opset(21)), (17, 13, 21));
    }
}
