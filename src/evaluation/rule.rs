//! Figures that can be held against a limit.

use serde::{Serialize, Serializer};

/// A figure that can be held against a limit. Named as the flag that sets the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Agreement,
    Sqnr,
    DecileSqnr,
    Cosine,
    DecileCosine,
    Rank1,
    AbsError,
    P99Error,
    Iou,
    Matched,
    BoxIou,
    Map,
    LayerSqnr,
    Top1Drop,
    IouDrop,
    MapDrop,
    Size,
    Latency,
    Regression,
}

/// All that there is to know of a rule.
struct Facts {
    name: &'static str,
    description: &'static str,
    /// Whether the limit is the least that is allowed; else it is the most.
    least: bool,
    measure: Measure,
    /// What stands before and behind the amount that was found.
    words: (&'static str, &'static str),
    /// Why there may be nothing to judge.
    missing: &'static str,
}

/// How an amount is written.
enum Measure {
    Percent,
    Decibels,
    Cosine,
    Ratio,
    Error,
    Points,
    Bytes,
}

const NOTHING: &str = "there is nothing to measure";
const NO_LABELS: &str = "there are no labels; give --data a folder with a folder for each class, or a .npz with an array `labels`";
const NO_NUMBERS: &str = "all outputs are taken for classes or boxes; --task regress takes them for numbers";
const NO_BOXES: &str =
    "the outputs are not read as boxes (--decode says how), or the reference finds none on these samples (--data gives others)";
const NO_DRAWN_BOXES: &str = "there are no boxes as labels; --labels names a JSON file in the form of COCO";
const NO_MASKS: &str = "there are no masks; --labels names a folder with a PNG for each picture of --data";

/// In the order of [`Rule::ALL`].
static FACTS: [Facts; 19] = [
    Facts {
        name: "min-agreement",
        description: "percent of samples, positions or pixels that an output gives the same class in both models",
        least: true,
        measure: Measure::Percent,
        words: ("", " of them agree"),
        missing: "no output has a score for each of several classes",
    },
    Facts {
        name: "min-sqnr",
        description: "signal-to-noise ratio of an output, or of its worst part where numbers of unlike size lie in one, in decibels",
        least: true,
        measure: Measure::Decibels,
        words: ("SQNR ", ""),
        missing: NOTHING,
    },
    Facts {
        name: "min-decile-sqnr",
        description: "signal-to-noise ratio of an output on the worst tenth of the samples, in decibels",
        least: true,
        measure: Measure::Decibels,
        words: ("SQNR ", " on the worst tenth of the samples"),
        missing: NOTHING,
    },
    Facts {
        name: "min-cosine",
        description: "cosine of the angle between the outputs of both models",
        least: true,
        measure: Measure::Cosine,
        words: ("cosine ", ""),
        missing: NOTHING,
    },
    Facts {
        name: "min-decile-cosine",
        description: "cosine of the angle between what both models give for a sample, averaged over the worst tenth of the samples",
        least: true,
        measure: Measure::Cosine,
        words: ("cosine ", " on the worst tenth of the samples"),
        missing: NO_NUMBERS,
    },
    Facts {
        name: "min-rank1",
        description: "percent of samples whose vector is nearer to the reference's of the same sample than to those of others",
        least: true,
        measure: Measure::Percent,
        words: ("", " of the samples are found again"),
        missing: "no output is a vector for each of several samples; --task regress says that one is",
    },
    Facts {
        name: "max-abs-error",
        description: "greatest difference between two elements of an output",
        least: false,
        measure: Measure::Error,
        words: ("greatest error ", ""),
        missing: NOTHING,
    },
    Facts {
        name: "max-p99-error",
        description: "difference between two elements of an output that 99 of 100 do not exceed",
        least: false,
        measure: Measure::Error,
        words: ("99 % of the errors are within ", ""),
        missing: NO_NUMBERS,
    },
    Facts {
        name: "min-iou",
        description: "intersection over union of the pixels of a class in both models, averaged over classes",
        least: true,
        measure: Measure::Ratio,
        words: ("mean IoU ", ""),
        missing: "no output has a class for each pixel; --task segment says that one has",
    },
    Facts {
        name: "min-matched",
        description: "percent of the boxes of both models that have a partner of their class in the other, overlapping by half at least",
        least: true,
        measure: Measure::Percent,
        words: ("", " of the boxes have a partner"),
        missing: NO_BOXES,
    },
    Facts {
        name: "min-box-iou",
        description: "intersection over union of boxes that are partners, on average",
        least: true,
        measure: Measure::Ratio,
        words: ("mean IoU of boxes ", ""),
        missing: NO_BOXES,
    },
    Facts {
        name: "min-map",
        description: "mean average precision (0.5:0.95, as COCO counts it) of the candidate, with the boxes of the reference as right",
        least: true,
        measure: Measure::Ratio,
        words: ("mAP ", " of the reference's boxes"),
        missing: NO_BOXES,
    },
    Facts {
        name: "min-layer-sqnr",
        description: "signal-to-noise ratio of a value within the network, in decibels, after the best scale and shift of each channel",
        least: true,
        measure: Measure::Decibels,
        words: ("SQNR ", ""),
        missing: "no value within the networks has the same name and size in both",
    },
    Facts {
        name: "max-top1-drop",
        description: "points of top-1 accuracy that are lost on labelled data",
        least: false,
        measure: Measure::Points,
        words: ("top-1 accuracy falls by ", ""),
        missing: NO_LABELS,
    },
    Facts {
        name: "max-iou-drop",
        description: "points (hundredths) of mean IoU with labels that are lost",
        least: false,
        measure: Measure::Points,
        words: ("mean IoU with the labels falls by ", ""),
        missing: NO_MASKS,
    },
    Facts {
        name: "max-map-drop",
        description: "points (hundredths) of mean average precision (0.5:0.95, as COCO counts it) with labels that are lost",
        least: false,
        measure: Measure::Points,
        words: ("mAP with the labels falls by ", ""),
        missing: NO_DRAWN_BOXES,
    },
    Facts {
        name: "max-size",
        description: "bytes of the candidate, its external data included",
        least: false,
        measure: Measure::Bytes,
        words: ("has ", ""),
        missing: NOTHING,
    },
    Facts {
        name: "max-latency",
        description: "time of one sample in ONNX Runtime, with the reference as 1",
        least: false,
        measure: Measure::Ratio,
        words: ("", ""),
        missing: NOTHING,
    },
    Facts {
        name: "max-regression",
        description: "how much worse a figure is than in the baseline: points of agreement, accuracy, IoU, matched boxes or mAP, decibels of SQNR",
        least: false,
        measure: Measure::Ratio,
        words: ("", ""),
        missing: "the baseline has none of the outputs",
    },
];

impl Rule {
    pub const ALL: [Rule; 19] = [
        Rule::Agreement,
        Rule::Sqnr,
        Rule::DecileSqnr,
        Rule::Cosine,
        Rule::DecileCosine,
        Rule::Rank1,
        Rule::AbsError,
        Rule::P99Error,
        Rule::Iou,
        Rule::Matched,
        Rule::BoxIou,
        Rule::Map,
        Rule::LayerSqnr,
        Rule::Top1Drop,
        Rule::IouDrop,
        Rule::MapDrop,
        Rule::Size,
        Rule::Latency,
        Rule::Regression,
    ];

    fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    pub fn description(self) -> &'static str {
        self.facts().description
    }

    /// Whether `found` keeps `limit`; what is no number does not.
    pub(super) fn is_kept(self, found: f64, limit: f64) -> bool {
        if self.facts().least { found >= limit } else { found <= limit }
    }

    /// Why there may be nothing to judge.
    pub(super) fn missing(self) -> &'static str {
        self.facts().missing
    }

    /// `SQNR 20.00 dB`.
    pub(super) fn told(self, found: f64) -> String {
        let (before, behind) = self.facts().words;
        format!("{before}{}{behind}", self.amount(found))
    }

    /// A figure of a place in words, and its limit.
    pub(super) fn message(self, place: &str, told: &str, limit: f64) -> String {
        let bound = if self.facts().least { "least" } else { "most" };
        format!("{place}: {told}, at {bound} {} asked", self.amount(limit))
    }

    pub(super) fn amount(self, number: f64) -> String {
        match self.facts().measure {
            Measure::Percent => format!("{number:.2} %"),
            Measure::Decibels => format!("{number:.2} dB"),
            Measure::Cosine => format!("{number:.6}"),
            Measure::Ratio => format!("{number:.3}"),
            Measure::Error => format!("{number:.3e}"),
            Measure::Points => format!("{number:.2} points"),
            Measure::Bytes => format!("{number:.0} bytes"),
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_their_rule() {
        for rule in Rule::ALL {
            let called = format!("{rule:?}");
            let dashed = |letter: char| if letter.is_uppercase() { format!("-{}", letter.to_lowercase()) } else { letter.to_string() };
            let name: String = called.chars().map(dashed).collect();
            assert!(["min", "max"].contains(&rule.name().trim_end_matches(&name)), "{rule:?} is not {}", rule.name());
        }
    }

    #[test]
    fn rules_are_called_as_the_side_of_their_limit_and_no_two_alike() {
        let mut names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        for rule in Rule::ALL {
            assert_eq!(rule.name().starts_with("min-"), rule.is_kept(2.0, 1.0) && !rule.is_kept(1.0, 2.0), "{}", rule.name());
            assert!(!rule.is_kept(f64::NAN, 0.0) && !rule.is_kept(0.0, f64::NAN));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
    }
}
