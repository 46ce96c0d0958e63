//! All boxes of an SSD, decoded to corners, with the probabilities of classes.

use super::super::detected::{Detected, suppress};
use super::super::reading::{LEAST_SCORE, Named, Views, best, check_probabilities, corners_of, is_sound, matrix};

/// Places of the outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Corners {
    boxes: usize,
    scores: usize,
}

impl Corners {
    /// # Errors
    /// If there is no output of boxes, or none with scores of classes for each.
    pub fn of(outputs: &[Named<'_>]) -> Result<Self, String> {
        let told = || outputs.iter().map(|named| format!("`{}` {:?}", named.name, named.shape)).collect::<Vec<_>>().join(", ");
        let rows = |named: &Named<'_>| named.shape.len().checked_sub(2).map(|at| named.shape[at]);
        let is_boxes = |index: &usize| outputs[*index].shape.last() == Some(&4) && outputs[*index].shape.len() > 1;
        let all: Vec<usize> = (0..outputs.len()).filter(is_boxes).collect();
        let called = all.iter().copied().find(|index| ["box", "loc"].iter().any(|name| outputs[*index].name.to_lowercase().contains(name)));
        let boxes = called.or(all.first().copied()).ok_or_else(|| format!("no output has rows of 4 numbers: {}", told()))?;
        let scores = (0..outputs.len()).find(|index| *index != boxes && rows(&outputs[*index]) == rows(&outputs[boxes]));
        let scores = scores.ok_or_else(|| format!("no output has scores for each row of `{}`: {}", outputs[boxes].name, told()))?;
        Ok(Corners { boxes, scores })
    }

    pub fn read(&self, outputs: &Views<'_>) -> Result<Vec<Detected>, String> {
        let (boxes, scores) = (matrix(&outputs[self.boxes], 4)?, matrix(&outputs[self.scores], 1)?);
        if boxes.nrows() != scores.nrows() {
            return Err(format!("{} boxes and scores of {}", boxes.nrows(), scores.nrows()));
        }
        // The background is no class, unless it is the only one.
        let background = usize::from(scores.ncols() > 1);
        let one = |(corners, scores): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
            let (class, score) = best(scores.iter().skip(background).copied())?;
            Some(Detected { corners: corners_of(&corners), score, class })
        };
        Ok(suppress(boxes.rows().into_iter().zip(scores.rows()).filter_map(one).filter(is_sound).collect()))
    }

    /// # Errors
    /// If scores are no probabilities, or boxes no corners.
    pub fn check(&self, outputs: &Views<'_>, names: &[Named<'_>]) -> Result<(), String> {
        let (boxes, scores) = (matrix(&outputs[self.boxes], 4)?, matrix(&outputs[self.scores], 1)?);
        check_probabilities(names[self.scores].name, scores.iter().copied())?;
        let (mut drawn, mut all) = (0, 0);
        for (corners, scores) in boxes.rows().into_iter().zip(scores.rows()) {
            if scores.iter().skip(usize::from(scores.len() > 1)).any(|score| *score >= LEAST_SCORE) {
                all += 1;
                drawn += usize::from(corners[2] >= corners[0] && corners[3] >= corners[1]);
            }
        }
        if 10 * drawn < 9 * all {
            let name = names[self.boxes].name;
            return Err(format!("rows of output `{name}` are no corners x1, y1, x2, y2: offsets need the boxes that they belong to"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    #[test]
    fn the_background_is_no_class_and_what_does_not_fit_is_refused() {
        let named = |name, columns| Named { name, shape: vec![1, 3, columns], is_integer: false };
        let names = [named("scores", 3), named("boxes", 4)];
        let corners = Corners::of(&names).unwrap();
        let array = |columns, numbers: &[f32]| ArrayD::from_shape_vec(vec![1, 3, columns], numbers.to_vec()).unwrap();
        let boxes = array(4, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.9, 1.0, 2.0, 2.0, 3.0, 3.0]);
        let scores = array(3, &[0.1, 0.1, 0.8, 0.3, 0.1, 0.6, 0.98, 0.02, 0.0]);
        let views = vec![scores.view(), boxes.view()];
        let found = corners.read(&views).unwrap();
        assert_eq!(found.iter().map(|found| (found.class, found.score)).collect::<Vec<_>>(), [(1, 0.8), (0, 0.02)]);
        assert_eq!(corners.check(&views, &names), Ok(()));
        let logits = array(3, &[5.0; 9]);
        assert!(corners.check(&vec![logits.view(), boxes.view()], &names).unwrap_err().contains("`scores` reaches from 5 to 5"));
        let offsets = array(4, &[1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.1, 0.1, 1.0, 1.0, 0.0, 0.0]);
        assert!(corners.check(&vec![scores.view(), offsets.view()], &names).unwrap_err().contains("`boxes` are no corners"));
        assert!(Corners::of(&names[..1]).unwrap_err().contains("no output has rows of 4"));
    }
}
