//! `zeroq targets`.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::{print, print_json};
use super::quantize::{Precision, target_names};
use super::{Context, Outcome, work};
use crate::error::{Error, Result};
use crate::evaluation::SCHEMA;
use crate::quantization::{Target, targets};

const EXAMPLES: &str = "\
Examples:
  zeroq targets
  zeroq targets tensorrt
  zeroq targets --json";

/// Show the runtimes that files can be made for, and the rules of each
///
/// With a name, its rules: where quantizers stand, what integers there are, how they are written down, what versions run them, and
/// what was tested. `quantize --target NAME` follows them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TargetsArguments {
    /// The target to show
    #[arg(value_name = "NAME", value_parser = target_names())]
    pub name: Option<String>,
}

#[derive(Serialize)]
struct TargetsReport {
    schema: u32,
    command: &'static str,
    version: &'static str,
    targets: Vec<Rules>,
}

/// What `--target` stands for, in names and words.
#[derive(Serialize)]
struct Rules {
    name: &'static str,
    description: &'static str,
    /// The first of the target.
    is_default: bool,
    /// What `--precision` may be.
    precisions: Vec<&'static str>,
    activation_types: Vec<String>,
    symmetric_activations: bool,
    weight_types: Vec<String>,
    largest_weight: u8,
    per_channel: &'static str,
    integer_bias: bool,
    transposed_convolutions: bool,
    placement: &'static str,
    format: &'static str,
    fixed_shapes: bool,
    operator_set: &'static str,
    runs_in: &'static str,
    tested: &'static str,
    costs_measured: bool,
}

const OPERATOR_SET: &str = "that of the model from 13 on, else 17; 21 at least with integers of 4 or 16 bits";

pub fn run(arguments: &TargetsArguments, context: &Context) -> Result<Outcome> {
    let chosen: Vec<Target> = match &arguments.name {
        Some(name) => vec![targets::find(name).ok_or_else(|| Error::Usage(format!("there is no target `{name}`")))?],
        None => targets::all().to_vec(),
    };
    if context.json {
        let targets = chosen.iter().map(Rules::of).collect();
        print_json(&TargetsReport { schema: SCHEMA, command: "targets", version: work::VERSION, targets })?;
    } else if let (Some(_), [target]) = (&arguments.name, chosen.as_slice()) {
        print(&describe(target))?;
    } else {
        print(&chosen.iter().map(|target| format!("{:<14} {}\n", target.name, target.description)).collect::<String>())?;
    }
    Ok(Outcome::Done)
}

impl Rules {
    fn of(target: &Target) -> Self {
        let names = |types: &[crate::tensor::DataType]| types.iter().map(ToString::to_string).collect();
        Rules {
            name: target.name,
            description: target.description,
            is_default: target.name == targets::all()[0].name,
            precisions: precisions(target),
            activation_types: names(target.activation_types),
            symmetric_activations: target.symmetric_activations,
            weight_types: names(target.weight_types),
            largest_weight: target.largest_weight,
            per_channel: target.per_channel.name(),
            integer_bias: target.integer_bias,
            transposed_convolutions: target.transposed_convolutions,
            placement: target.placement.name(),
            format: target.format.name(),
            fixed_shapes: target.fixed_shapes,
            operator_set: OPERATOR_SET,
            runs_in: target.runs_in,
            tested: target.tested,
            costs_measured: target.costs.is_some(),
        }
    }
}

/// Those whose integers the target takes.
fn precisions(target: &Target) -> Vec<&'static str> {
    let all = Precision::value_variants().iter();
    all.filter(|one| one.widths(true).is_some_and(|widths| target.takes(&widths))).map(|one| one.name()).collect()
}

fn describe(target: &Target) -> String {
    let rules = Rules::of(target);
    let zero = if rules.symmetric_activations { "zero point 0" } else { "a zero point of their own" };
    let biases = if rules.integer_bias { "int32, scale of the input times that of the weights" } else { "float" };
    let transposed = if rules.transposed_convolutions { "on integers" } else { "in float, their weights stored as integers" };
    let sizes = if rules.fixed_shapes { "all must be known; an open batch becomes 1" } else { "may stay open" };
    let costs = if rules.costs_measured {
        "measured: --objective weighs them"
    } else {
        "not measured: all that can be integer is, whatever --objective says"
    };
    let lines = [
        ("activations", format!("{}, {zero}", rules.activation_types.join(", "))),
        ("weights", format!("{}, zero point 0, magnitudes up to {} in 8 bits", rules.weight_types.join(", "), rules.largest_weight)),
        ("their scales", target.per_channel.description().to_string()),
        ("biases", biases.to_string()),
        ("ConvTranspose", transposed.to_string()),
        ("quantizers", target.placement.description().to_string()),
        ("written as", target.format.description().to_string()),
        ("precisions", rules.precisions.join(", ")),
        ("input sizes", sizes.to_string()),
        ("operator set", rules.operator_set.to_string()),
        ("runs in", rules.runs_in.to_string()),
        ("tested", rules.tested.to_string()),
        ("costs", costs.to_string()),
    ];
    let mut text = format!("{}: {}\n", rules.name, rules.description);
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<13} {value}");
    }
    text
}
