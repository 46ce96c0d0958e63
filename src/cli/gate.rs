//! Flags of the gate: what a comparison must reach.

use std::path::PathBuf;

use clap::Args;

use super::arguments::number_parser;
use crate::error::{Error, Result};
use crate::evaluation::{Rule, onnx_runtime_library};
use crate::pipeline::SizeLimit;

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Gate: exit with 1 where one of these is missed")]
pub struct GateArguments {
    /// Percent of the samples, positions or pixels with the same class, at least, for every output that scores classes
    #[arg(long, value_name = "PERCENT", value_parser = number_parser(0.0, 100.0))]
    pub min_agreement: Option<f64>,
    /// Signal-to-noise ratio of every output in decibels, at least; of each part of one in which numbers of unlike size lie
    /// side by side, as boxes and scores
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = number_parser(-120.0, 120.0))]
    pub min_sqnr: Option<f64>,
    /// Signal-to-noise ratio of every output on the tenth of the samples that is the worst, in decibels, at least
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = number_parser(-120.0, 120.0))]
    pub min_decile_sqnr: Option<f64>,
    /// Cosine of every output with that of the reference, at least
    #[arg(long, value_name = "COSINE", allow_hyphen_values = true, value_parser = number_parser(-1.0, 1.0))]
    pub min_cosine: Option<f64>,
    /// Cosine of a sample, averaged over the tenth of the samples that is the worst, at least; of outputs for --task regress
    #[arg(long, value_name = "COSINE", allow_hyphen_values = true, value_parser = number_parser(-1.0, 1.0))]
    pub min_decile_cosine: Option<f64>,
    /// Percent of the samples whose vector is nearest to the reference's of the same sample, at least; of outputs for --task
    /// regress
    #[arg(long, value_name = "PERCENT", value_parser = number_parser(0.0, 100.0))]
    pub min_rank1: Option<f64>,
    /// Difference between two elements of an output that 99 of 100 do not exceed, at most; of outputs for --task regress
    #[arg(long, value_name = "ERROR", value_parser = number_parser(0.0, f64::MAX))]
    pub max_p99_error: Option<f64>,
    /// Difference between two elements of an output, at most
    #[arg(long, value_name = "ERROR", value_parser = number_parser(0.0, f64::MAX))]
    pub max_abs_error: Option<f64>,
    /// Intersection over union of the pixels of a class in both models, averaged over classes, at least
    #[arg(long, value_name = "IOU", value_parser = number_parser(0.0, 1.0))]
    pub min_iou: Option<f64>,
    /// Percent of the boxes of both models that have a partner in the other, of their class and overlapping by half at least
    #[arg(long, value_name = "PERCENT", value_parser = number_parser(0.0, 100.0))]
    pub min_matched: Option<f64>,
    /// Intersection over union of boxes that are partners, on average, at least
    #[arg(long, value_name = "IOU", value_parser = number_parser(0.0, 1.0))]
    pub min_box_iou: Option<f64>,
    /// Mean average precision (0.5:0.95, as COCO counts it) with the boxes of the reference as right, at least
    #[arg(long, value_name = "PRECISION", value_parser = number_parser(0.0, 1.0))]
    pub min_map: Option<f64>,
    /// Signal-to-noise ratio in decibels of every value within the network that has the same name in both, at least; implies
    /// --layers
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = number_parser(-120.0, 120.0))]
    pub min_layer_sqnr: Option<f64>,
    /// Points of top-1 accuracy that may be lost, at most; needs labelled --data
    #[arg(long, value_name = "POINTS", allow_hyphen_values = true, value_parser = number_parser(-100.0, 100.0), requires = "data")]
    pub max_top1_drop: Option<f64>,
    /// Points (hundredths) of mean IoU with the masks of --labels that may be lost, at most
    #[arg(long, value_name = "POINTS", allow_hyphen_values = true, value_parser = number_parser(-100.0, 100.0), requires = "labels")]
    pub max_iou_drop: Option<f64>,
    /// Points (hundredths) of mean average precision (0.5:0.95) with the boxes of --labels that may be lost, at most
    #[arg(long, value_name = "POINTS", allow_hyphen_values = true, value_parser = number_parser(-100.0, 100.0), requires = "labels")]
    pub max_map_drop: Option<f64>,
    /// Size of the candidate, at most: bytes (60000, 60KiB, 1.5MB), or a part of the reference (0.3x)
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    pub max_size: Option<SizeLimit>,
    /// Time of one sample in ONNX Runtime with that of the reference as 1, at most; needs ORT_DYLIB_PATH. Missed where it is
    /// longer by more than the measurement errs
    #[arg(long, value_name = "RATIO", value_parser = number_parser(0.0, 1e6))]
    pub max_latency: Option<f64>,
    /// Report of an earlier `zeroq compare --format json` to hold the figures against
    #[arg(long, value_name = "FILE", requires = "max_regression")]
    pub baseline: Option<PathBuf>,
    /// How much worse than in the baseline a figure may be: points of agreement and accuracy, decibels of SQNR
    #[arg(long, value_name = "AMOUNT", value_parser = number_parser(0.0, 1e6), requires = "baseline")]
    pub max_regression: Option<f64>,
    /// Exit with 0 even if a limit is missed: the report alone tells
    #[arg(long)]
    pub exit_zero: bool,
}

fn file_size(text: &str) -> Result<SizeLimit, String> {
    match text.parse()? {
        SizeLimit::Bits(_) => Err("expected a file size (60000, 60KiB, 1.5MB) or a part of the reference (0.3x)".into()),
        size => Ok(size),
    }
}

impl GateArguments {
    /// The limits, with `bytes` as the size of the reference.
    pub fn limits(&self, bytes: u64) -> Vec<(Rule, f64)> {
        let size = self.max_size.map(|size| match size {
            SizeLimit::Part(part) => (part * bytes as f64).floor(),
            SizeLimit::Bytes(most) => most as f64,
            SizeLimit::Bits(_) => f64::INFINITY,
        });
        let said = [
            (Rule::Agreement, self.min_agreement),
            (Rule::Sqnr, self.min_sqnr),
            (Rule::DecileSqnr, self.min_decile_sqnr),
            (Rule::Cosine, self.min_cosine),
            (Rule::DecileCosine, self.min_decile_cosine),
            (Rule::Rank1, self.min_rank1),
            (Rule::P99Error, self.max_p99_error),
            (Rule::AbsError, self.max_abs_error),
            (Rule::Iou, self.min_iou),
            (Rule::Matched, self.min_matched),
            (Rule::BoxIou, self.min_box_iou),
            (Rule::Map, self.min_map),
            (Rule::LayerSqnr, self.min_layer_sqnr),
            (Rule::Top1Drop, self.max_top1_drop),
            (Rule::IouDrop, self.max_iou_drop),
            (Rule::MapDrop, self.max_map_drop),
            (Rule::Size, size),
            (Rule::Latency, self.max_latency),
            (Rule::Regression, self.max_regression),
        ];
        said.into_iter().filter_map(|(rule, limit)| Some((rule, limit?))).collect()
    }

    /// What can be known to be impossible before the work begins.
    ///
    /// # Errors
    /// If a latency is asked for without ONNX Runtime.
    pub fn check(&self) -> Result<()> {
        if self.max_latency.is_some() && onnx_runtime_library().is_none() {
            return Err(Error::Usage(
                "--max-latency needs ONNX Runtime: set ORT_DYLIB_PATH to its shared library (libonnxruntime.so, .dylib or onnxruntime.dll)"
                    .into(),
            ));
        }
        Ok(())
    }
}
