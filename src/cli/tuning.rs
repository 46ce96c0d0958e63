//! Flags that say how the quantized model is tuned against the original.

use clap::Args;

use super::arguments::{Flag, choice_parser, count_parser, number_parser};
use crate::distillation::{LayerShares, Losses, OutputMeasure};
use crate::pipeline::Tuning;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tuning")]
pub struct TuningArguments {
    /// Steps of tuning the quantized model against the original [default: chosen from the model]
    #[arg(long, value_name = "N", value_parser = count_parser(1, 10_000_000), conflicts_with = "no_distill")]
    pub distill_steps: Option<usize>,
    /// Steps of learning how the weights of each block are rounded, before that [default: chosen from the model for 4 bits,
    /// 0 for wider integers]
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = count_parser(0, 10_000_000), conflicts_with = "no_distill")]
    pub reconstruct_steps: Option<usize>,
    /// Do not tune the quantized model against the original
    #[arg(long)]
    pub no_distill: bool,
    /// Part of the images that are mixed with another one while the whole is tuned, 0 to 1
    #[arg(hide_short_help = true, long, value_name = "PART", default_value_t = 0.0, value_parser = number_parser(0.0, 1.0), conflicts_with = "no_distill")]
    pub mixup: f64,
    /// How outputs are held against the original's while the whole is tuned; scores of classes alone have a divergence
    #[arg(hide_short_help = true, long, default_value = OutputMeasure::ALL[0].name(), value_parser = choice_parser(&OutputMeasure::ALL, OutputMeasure::name, OutputMeasure::description), conflicts_with = "no_distill")]
    pub output_loss: OutputMeasure,
    /// What layers count while the whole is tuned
    #[arg(hide_short_help = true, long, default_value = LayerShares::ALL[0].name(), value_parser = choice_parser(&LayerShares::ALL, LayerShares::name, LayerShares::description), conflicts_with = "no_distill")]
    pub layer_loss: LayerShares,
}

impl TuningArguments {
    /// All flags, and whether they are said.
    pub fn flags(&self) -> [Flag; 6] {
        [
            ("--distill-steps", self.distill_steps.is_some()),
            ("--reconstruct-steps", self.reconstruct_steps.is_some()),
            ("--no-distill", self.no_distill),
            ("--mixup", self.mixup > 0.0),
            ("--output-loss", self.output_loss != OutputMeasure::ALL[0]),
            ("--layer-loss", self.layer_loss != LayerShares::ALL[0]),
        ]
    }

    /// What was asked for; a number of steps is `Some(0)` where nothing is tuned, `None` where it is chosen.
    pub fn tuning(&self) -> Tuning {
        let steps = |asked: Option<usize>| if self.no_distill { Some(0) } else { asked };
        Tuning {
            distill_steps: steps(self.distill_steps),
            reconstruct_steps: steps(self.reconstruct_steps),
            mixup: self.mixup as f32,
            losses: Losses { outputs: self.output_loss, layers: self.layer_loss },
        }
    }
}
