//! What is said of the range of an input.

use super::{Certainty, Finding};
use crate::progress::Progress;
use crate::synthesis::input::Input;
use crate::synthesis::input_range::PixelRange;

/// Notes what is certain and warns of what is not.
pub fn tell(input: &Input, progress: &dyn Progress) {
    let (name, range) = (&input.name, &input.range);
    let Finding { certainty, .. } = input.finding;
    if certainty == Certainty::Found {
        let next =
            input.finding.runner_up.as_ref().map_or(String::new(), |(range, share)| format!("; next {}, {}", range.name, percent(*share)));
        let sure = input.finding.probability.unwrap_or_default();
        progress.note(&format!(
            "input `{name}`: range {} found from the first BatchNormalization, {} probable{next}",
            shown(range),
            percent(sure)
        ));
    }
    if let Some(doubt) = doubt(input) {
        progress.warn(&doubt);
    }
}

/// What is not certain about the range of an input, and what to do; `None` where it is certain.
pub fn doubt(input: &Input) -> Option<String> {
    let (name, range, finding) = (&input.name, &input.range, &input.finding);
    let advice = advice(input);
    let next = finding.runner_up.as_ref();
    let share = percent(finding.probability.unwrap_or_default());
    let (mean, deviation) = finding.spread.unwrap_or_default();
    let shape = &input.shape;
    Some(match finding.certainty {
        Certainty::Given | Certainty::Observed | Certainty::Found => return None,
        Certainty::Unsure => {
            let next = next.map_or(String::new(), |(range, share)| format!(", {} too ({})", range.name, percent(*share)));
            let (low, high) = range.hull();
            format!(
                "input `{name}`: its range is not certain: {} explains the statistics of the first BatchNormalization ({share}){next}; \
                 {low:.3} to {high:.3} is held valid; {advice}",
                shown(range)
            )
        }
        Certainty::Estimated if input.image_channels() == Some(3) => format!(
            "input `{name}`: no usual range explains the statistics of the first BatchNormalization, which speak of a mean of \
             {mean:.4} and a deviation of {deviation:.4}: {} is taken; {advice}",
            shown(range)
        ),
        Certainty::Estimated => format!(
            "input `{name}` {shape:?} is taken for no picture: by the statistics of the first BatchNormalization its mean is {mean:.4} and \
             its deviation {deviation:.4}: {} is held valid; {advice}",
            shown(range)
        ),
        Certainty::Deep => {
            let next = next.map_or(String::new(), |(range, _)| format!(", {} comes next", range.name));
            format!(
                "input `{name}`: its range is a guess: the first BatchNormalization lies deep, behind something that is not linear or reads \
                 other inputs too; {} comes nearest{next}; {advice}",
                shown(range)
            )
        }
        Certainty::Assumed => format!(
            "the valid range of input `{name}` cannot be found without BatchNormalization; it is ASSUMED to be {}; {advice}",
            shown(range)
        ),
    })
}

/// What a user who knows the range can say: names are for pictures.
pub fn advice(input: &Input) -> String {
    let forms = if looks_like_a_picture(input) { "unit, signed, byte, imagenet or LO,HI" } else { "LO,HI" };
    format!("pass --input-range if you know it ({forms})")
}

/// Whether an input may be one by its shape: features of sound have one channel too, and are longer than high.
fn looks_like_a_picture(input: &Input) -> bool {
    input.picture().is_some_and(|picture| {
        let (short, long) = (picture.height.min(picture.width), picture.height.max(picture.width));
        picture.channels > 1 || (long < 2 * short && input.finding.certainty != Certainty::Estimated)
    })
}

/// Name and ends.
pub fn shown(range: &PixelRange) -> String {
    let (low, high) = range.hull();
    format!("{} ({low:.3} to {high:.3})", range.name)
}

fn percent(share: f64) -> String {
    match 100.0 * share {
        most if most > 99.9 => "over 99.9 %".to_string(),
        little if little < 0.1 => "under 0.1 %".to_string(),
        percent => format!("{percent:.1} %"),
    }
}
