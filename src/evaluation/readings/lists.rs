//! Boxes, their scores and their classes in outputs of their own.

use ndarray::ArrayViewD;

use super::super::detected::{Detected, sort};
use super::super::reading::{Named, Views, corners_of, is_sound, matrix};

/// Places of the outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists {
    boxes: usize,
    /// `None` where they stand behind the corners of each box.
    scores: Option<usize>,
    /// `None` where there is one class.
    classes: Option<usize>,
    count: Option<usize>,
    /// Whether y stands before x.
    y_first: bool,
}

impl Lists {
    /// Tells the outputs by their sizes, and those of one size by their names and types.
    ///
    /// # Errors
    /// If there are no boxes, or no scores.
    pub fn of(outputs: &[Named<'_>]) -> Result<Self, String> {
        let boxes = find_boxes(outputs).ok_or("no output has rows of 4 numbers that are corners of boxes")?;
        let shape = &outputs[boxes].shape;
        let rows = shape[shape.len() - 2];
        let is_list = |named: &Named<'_>| named.shape.iter().product::<usize>() == rows;
        let lists: Vec<usize> = (0..outputs.len()).filter(|index| *index != boxes && is_list(&outputs[*index])).collect();
        let called = |index: usize, names: &[&str]| names.iter().any(|name| outputs[index].name.to_lowercase().contains(name));
        let count = (0..outputs.len())
            .filter(|index| *index != boxes)
            .find(|index| outputs[*index].shape.iter().product::<usize>() == 1 && called(*index, &["num", "count", "valid"]));
        let lists: Vec<usize> = lists.into_iter().filter(|index| Some(*index) != count).collect();
        let is_class = |index: &usize| called(*index, &["class", "label", "cls", "categor"]) || outputs[*index].is_integer;
        let classes = lists.iter().copied().find(is_class);
        let scores = lists.iter().copied().find(|index| Some(*index) != classes);
        if scores.is_none() && (shape.last() != Some(&5) || classes.is_none()) {
            let others: Vec<String> = outputs.iter().map(|named| format!("`{}` {:?}", named.name, named.shape)).collect();
            return Err(format!("no output has one score for each of the boxes of `{}`: {}", outputs[boxes].name, others.join(", ")));
        }
        let y_first = outputs[boxes].name.to_lowercase().contains("detection_boxes");
        Ok(Lists { boxes, scores, classes, count, y_first })
    }

    pub fn read(&self, outputs: &Views<'_>) -> Result<Vec<Detected>, String> {
        let boxes = matrix(&outputs[self.boxes], if self.scores.is_some() { 4 } else { 5 })?;
        let list = |index: Option<usize>| index.map(|index| numbers(&outputs[index], boxes.nrows())).transpose();
        let (scores, classes) = (list(self.scores)?, list(self.classes)?);
        let count = self.count.and_then(|index| outputs[index].iter().next().map(|count| count.max(0.0) as usize));
        let one = |(index, row): (usize, ndarray::ArrayView1<'_, f32>)| {
            let [a, b, c, d] = corners_of(&row);
            Detected {
                corners: if self.y_first { [b, a, d, c] } else { [a, b, c, d] },
                score: scores.as_ref().map_or_else(|| row[4], |scores| scores[index]),
                class: classes.as_ref().map_or(0, |classes| classes[index].max(0.0).round() as u32),
            }
        };
        let rows = boxes.rows().into_iter().enumerate().take(count.unwrap_or(usize::MAX));
        let mut found: Vec<Detected> = rows.map(one).filter(is_sound).collect();
        sort(&mut found);
        Ok(found)
    }
}

/// The output with corners; of several the one that is called so.
fn find_boxes(outputs: &[Named<'_>]) -> Option<usize> {
    let rows = |named: &Named<'_>| named.shape.len() > 1 && matches!(named.shape.last(), Some(4 | 5)) && !named.is_integer;
    let all: Vec<usize> = (0..outputs.len()).filter(|index| rows(&outputs[*index])).collect();
    let called = |index: &&usize| ["box", "det"].iter().any(|name| outputs[**index].name.to_lowercase().contains(name));
    match all.as_slice() {
        [only] => Some(*only),
        several => several.iter().find(called).copied(),
    }
}

fn numbers(view: &ArrayViewD<'_, f32>, count: usize) -> Result<Vec<f32>, String> {
    let numbers: Vec<f32> = view.iter().copied().collect();
    if numbers.len() == count { Ok(numbers) } else { Err(format!("{} scores or classes for {count} boxes", numbers.len())) }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    fn named<'a>(name: &'a str, shape: &[usize], is_integer: bool) -> Named<'a> {
        Named { name, shape: shape.to_vec(), is_integer }
    }

    #[test]
    fn outputs_are_told_by_size_name_and_type() {
        let lists = |boxes, scores, classes, count| Lists { boxes, scores, classes, count, y_first: false };
        let torchvision = [named("a", &[7, 4], false), named("b", &[7], true), named("c", &[7], false)];
        assert_eq!(Lists::of(&torchvision), Ok(lists(0, Some(2), Some(1), None)));
        let plugin = [
            named("num_dets", &[1, 1], true),
            named("det_boxes", &[1, 100, 4], false),
            named("det_scores", &[1, 100], false),
            named("det_classes", &[1, 100], true),
        ];
        assert_eq!(Lists::of(&plugin), Ok(lists(1, Some(2), Some(3), Some(0))));
        let tensorflow = [
            named("detection_classes", &[1, 9], false),
            named("detection_scores", &[1, 9], false),
            named("detection_boxes", &[1, 9, 4], false),
        ];
        assert_eq!(Lists::of(&tensorflow), Ok(Lists { y_first: true, ..lists(2, Some(1), Some(0), None) }));
        let scored = [named("dets", &[1, 9, 5], false), named("labels", &[1, 9], true)];
        assert_eq!(Lists::of(&scored), Ok(lists(0, None, Some(1), None)));
        let raw = [named("boxes", &[1, 9, 4], false), named("scores", &[1, 9, 20], false)];
        assert!(Lists::of(&raw).unwrap_err().contains("`scores` [1, 9, 20]"));
    }

    #[test]
    fn boxes_behind_the_count_are_none() {
        let outputs = [named("num", &[1], true), named("boxes", &[1, 3, 4], false), named("scores", &[1, 3], false)];
        let array = |shape: &[usize], numbers: &[f32]| ArrayD::from_shape_vec(shape, numbers.to_vec()).unwrap();
        let corners = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 3.0, 3.0];
        let views = [array(&[1], &[2.0]), array(&[1, 3, 4], &corners), array(&[1, 3], &[0.2, 0.9, 0.8])];
        let found = Lists::of(&outputs).unwrap().read(&views.iter().map(|array| array.view()).collect()).unwrap();
        assert_eq!(found.iter().map(|found| (found.score, found.corners[2])).collect::<Vec<_>>(), [(0.9, 2.0), (0.2, 1.0)]);
    }
}
