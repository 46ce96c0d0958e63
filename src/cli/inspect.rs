//! `zeroq inspect`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{print, print_json};
use super::text::{amount, bytes, escape_name, plural, shape};
use super::{Context, Outcome, work};
use crate::error::Result;
use crate::evaluation::{Anatomy, BatchNormalizationState, InspectReport, ValueReport};

const EXAMPLES: &str = "\
Examples:
  zeroq inspect model.onnx
  zeroq inspect model.onnx --json";

/// How to keep BatchNormalization in an export of PyTorch.
const KEEP: &str = "\
  to keep them, export from PyTorch with
    torch.onnx.export(model.eval(), x, \"model.onnx\", training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, dynamo=False)
  or
    torch.onnx.export(model.eval(), (x,), \"model.onnx\", dynamo=True, optimize=False)
";

/// The same where tf2onnx has made the file, for TensorFlow and Keras.
const KEEP_IN_TENSORFLOW: &str = "\
  to keep them, run this before tf2onnx
    from tf2onnx.optimizer import back_to_back_optimizer
    back_to_back_optimizer._func_map.pop((\"Conv\", \"BatchNormalization\"))
  and, with Keras 3, what docs/src/exporting.md says
";

/// Show what a model is made of, and what of it can become integers
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InspectArguments {
    /// The model, an .onnx file
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
}

pub fn run(arguments: &InspectArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.model)?;
    let report = work::inspect(&arguments.model, &context.limits, &context.terminal)?;
    if context.json {
        print_json(&report)?
    } else {
        print(&describe(&report))?
    }
    Ok(Outcome::Done)
}

fn describe(report: &InspectReport) -> String {
    let producer = if report.producer.is_empty() { String::new() } else { format!(", made by {}", escape_name(&report.producer)) };
    let mut text = format!("{}: {}\n", escape_name(&report.model.path), bytes(report.model.bytes));
    let _ = writeln!(text, "operator set {}, IR {}{producer}", report.opset, report.ir_version);
    let anatomy = &report.anatomy;
    describe_values(&mut text, "input", &anatomy.inputs);
    describe_values(&mut text, "output", &anatomy.outputs);
    describe_size(&mut text, anatomy);
    describe_batch_normalization(&mut text, anatomy, &report.producer);
    describe_quantization(&mut text, anatomy);
    for (key, value) in &report.provenance {
        let _ = writeln!(text, "{}: {}", escape_name(key), escape_name(value));
    }
    text
}

fn describe_values(text: &mut String, kind: &str, values: &[ValueReport]) {
    for value in values {
        let sizes = value.shape.as_ref().map_or("of unknown shape".into(), |sizes| escape_name(&shape(sizes)));
        let data_type = value.data_type.as_deref().unwrap_or("unknown type");
        let _ = writeln!(text, "{kind} {}: {data_type} {sizes}", escape_name(&value.name));
    }
}

fn describe_size(text: &mut String, anatomy: &Anatomy) {
    let uncounted = match anatomy.uncounted {
        0 => String::new(),
        count => format!(" (without {count} of unknown shape)"),
    };
    let _ = writeln!(
        text,
        "{}, {} parameters, {} multiplications{uncounted}",
        plural(anatomy.nodes, "node"),
        amount(anatomy.parameters),
        amount(anatomy.multiplications)
    );
    let mut operators: Vec<(&String, &usize)> = anatomy.operators.iter().collect();
    operators.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    for (name, count) in operators {
        let _ = writeln!(text, "  {count:5} {}", escape_name(name));
    }
}

fn describe_batch_normalization(text: &mut String, anatomy: &Anatomy, producer: &str) {
    match anatomy.batch_normalization_state {
        _ if anatomy.quantized_nodes > 0 => {}
        BatchNormalizationState::Present => {
            let _ = writeln!(text, "{} BatchNormalization: images can be synthesized from their statistics", anatomy.batch_normalizations);
        }
        BatchNormalizationState::Folded => {
            text.push_str("no BatchNormalization: already folded into the convolutions, so images are made without statistics\n");
            text.push_str(if producer.starts_with("tf2onnx") { KEEP_IN_TENSORFLOW } else { KEEP });
        }
        BatchNormalizationState::Absent => text.push_str("no BatchNormalization: images are made without statistics\n"),
    }
}

fn describe_quantization(text: &mut String, anatomy: &Anatomy) {
    if anatomy.quantized_nodes > 0 {
        let _ = writeln!(text, "quantized already: {}", plural(anatomy.quantized_nodes, "node"));
    }
    for foreign in &anatomy.foreign {
        let (node, operator) = (escape_name(&foreign.node), escape_name(&foreign.operator));
        let _ = writeln!(text, "never executed: {operator} `{node}`: {}", escape_name(&foreign.reason));
    }
    let verb = if anatomy.quantized_nodes > 0 { "run" } else { "can run" };
    let integer = anatomy.products.iter().filter(|product| product.integer).count();
    let _ = writeln!(text, "{integer} of {} {verb} as integers", plural(anatomy.products.len(), "matrix product"));
    for product in &anatomy.products {
        if let Some(reason) = &product.reason {
            let _ = writeln!(text, "  float: {} `{}`: {}", product.operator, escape_name(&product.node), escape_name(reason));
        }
    }
}
