//! The program: flags in, exit code out. The only place that prints or knows a terminal.

mod admission;
mod arguments;
mod bench;
mod check;
mod compare;
mod comparison;
mod completions;
mod corrections;
mod crash;
mod data;
mod describe;
mod device;
mod explain;
mod formats;
mod gate;
mod inspect;
mod man;
mod method;
mod mixed;
mod output;
mod pictures;
mod plot;
mod quantize;
mod recipe;
mod report;
mod resume;
mod sensitivity;
mod signals;
mod similarity;
mod synthesize;
mod targets;
mod task;
mod terminal;
mod text;
mod tuning;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::error::{Error, Result};
use crate::evaluation::SCHEMA;
use crate::kernels::return_large_blocks;
use crate::limits::Limits;
use crate::memory;
use crate::tensor::check_sources;
use arguments::GlobalArguments;
use terminal::Terminal;

const EXAMPLES: &str = "\
Examples:
  zeroq inspect model.onnx
  zeroq quantize model.onnx -o model_int8.onnx
  zeroq compare model.onnx model_int8.onnx --min-agreement 99
  zeroq explain E0301";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a threshold of `compare` is missed
  2    bad input, bad usage, or an internal problem; nothing was written
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)

The result goes to stdout, everything else to stderr; with --json stdout is exactly one JSON value.
ORT_DYLIB_PATH names a shared library of ONNX Runtime to compare models in.";

/// Quantizes ONNX networks without data.
///
/// Calibration images are synthesized from the statistics that the network's BatchNormalization layers keep; the 8-bit
/// network is then tuned against the original on these images.
#[derive(Parser)]
#[command(
    name = "zeroq",
    version,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"),
    arg_required_else_help = true
)]
struct Arguments {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Quantize(quantize::QuantizeArguments),
    Synthesize(synthesize::SynthesizeArguments),
    Inspect(inspect::InspectArguments),
    Compare(compare::CompareArguments),
    Sensitivity(sensitivity::SensitivityArguments),
    Similarity(similarity::SimilarityArguments),
    Bench(bench::BenchArguments),
    Explain(explain::ExplainArguments),
    Targets(targets::TargetsArguments),
    Completions(completions::CompletionsArguments),
    Man(man::ManArguments),
}

/// How a run that failed nowhere ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    ThresholdMissed,
}

/// What every command gets beside its own flags.
struct Context {
    terminal: Terminal,
    execution: crate::execution::Config,
    json: bool,
    limits: Limits,
}

/// Runs the program on the arguments of the process.
pub fn main() -> ExitCode {
    crash::silence();
    match std::panic::catch_unwind(run) {
        Ok(code) => ExitCode::from(code),
        Err(_) => {
            terminal::print_line(&format!("error[{}]: {}", crash::error().code(), crash::error()));
            ExitCode::from(2)
        }
    }
}

/// Checks the text of a recipe file.
///
/// # Errors
/// Says what no recipe may say.
pub fn check_recipe(text: &str) -> Result<()> {
    recipe::check(text)
}

fn run() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            let _ = message.print();
            return u8::try_from(message.exit_code()).unwrap_or(2);
        }
    };
    let mut context = Context {
        terminal: Terminal::new(&arguments.global),
        execution: crate::execution::Config::new(arguments.global.isa),
        json: arguments.global.json,
        limits: arguments.global.limits(),
    };
    let done = start(&arguments, &mut context).and_then(|()| dispatch(&arguments.command, &context));
    // What a lost tensor led to is no news beside the loss.
    match check_sources().and(done) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::ThresholdMissed) => 1,
        Err(error) => fail(&error, &context),
    }
}

impl Command {
    /// Whether it synthesizes or tunes, so that a card is of use.
    fn takes_a_card(&self) -> bool {
        matches!(self, Command::Quantize(_) | Command::Synthesize(_) | Command::Compare(_) | Command::Sensitivity(_))
    }
}

fn start(arguments: &Arguments, context: &mut Context) -> Result<()> {
    return_large_blocks();
    signals::listen()?;
    if let Some(bytes) = arguments.global.max_memory {
        memory::allow(bytes);
    }
    if let Some(threads) = arguments.global.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global();
        pool.map_err(|error| Error::Usage(format!("--threads {threads}: {error}")))?;
    }
    #[cfg(feature = "candle")]
    if arguments.global.full_precision {
        crate::execution::candle::compute_exactly();
    }
    if arguments.command.takes_a_card() {
        context.execution.device = arguments.global.device.resolve(&arguments.global.devices, &context.terminal)?;
    }
    Ok(())
}

fn dispatch(command: &Command, context: &Context) -> Result<Outcome> {
    match command {
        Command::Quantize(arguments) => quantize::run(arguments, context),
        Command::Synthesize(arguments) => synthesize::run(arguments, context),
        Command::Inspect(arguments) => inspect::run(arguments, context),
        Command::Compare(arguments) => compare::run(arguments, context),
        Command::Sensitivity(arguments) => sensitivity::run(arguments, context),
        Command::Similarity(arguments) => similarity::run(arguments, context),
        Command::Bench(arguments) => bench::run(arguments, context),
        Command::Explain(arguments) => explain::run(arguments, context),
        Command::Targets(arguments) => targets::run(arguments, context),
        Command::Completions(arguments) => completions::run(arguments, context),
        Command::Man(arguments) => man::run(arguments, context),
    }
}

fn fail(error: &Error, context: &Context) -> u8 {
    context.terminal.error(error);
    if context.json {
        let value = json!({ "schema": SCHEMA, "error": { "code": error.code(), "message": error.to_string() } });
        let _ = output::print_json(&value);
    }
    if matches!(error, Error::Interrupted) { signals::exit_code() } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        use clap::CommandFactory;
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }
}
