//! Boxes around things in a picture.

/// A box with what is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detected {
    /// Left, top, right and bottom.
    pub corners: [f32; 4],
    pub score: f32,
    pub class: u32,
}

/// Pairs of boxes from this overlap on mean the same thing.
const SAME_THING: f64 = 0.6;
/// Boxes that are kept of one picture.
const MOST: usize = 300;

pub fn area(corners: &[f32; 4]) -> f64 {
    let side = |low: f32, high: f32| f64::from(high - low).max(0.0);
    side(corners[0], corners[2]) * side(corners[1], corners[3])
}

pub fn intersection(a: &[f32; 4], b: &[f32; 4]) -> f64 {
    area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])])
}

/// Intersection over union; 0 where both are empty.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f64 {
    let both = intersection(a, b);
    let union = area(a) + area(b) - both;
    if union > 0.0 { both / union } else { 0.0 }
}

/// The best first; of equal scores the earlier.
pub fn sort(boxes: &mut [Detected]) {
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// The best box of each thing: others of its class that overlap it much are left out (non-maximum suppression).
pub fn suppress(mut boxes: Vec<Detected>) -> Vec<Detected> {
    sort(&mut boxes);
    let mut kept: Vec<Detected> = Vec::new();
    for one in boxes {
        if kept.len() == MOST {
            break;
        }
        if !kept.iter().any(|other| other.class == one.class && iou(&other.corners, &one.corners) > SAME_THING) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(left: f32, score: f32, class: u32) -> Detected {
        Detected { corners: [left, 0.0, left + 10.0, 10.0], score, class }
    }

    #[test]
    fn overlaps_are_parts_of_unions() {
        let square = [0.0, 0.0, 2.0, 2.0];
        assert_eq!(iou(&square, &square), 1.0);
        assert_eq!(iou(&square, &[1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
        assert_eq!((iou(&square, &[5.0, 5.0, 6.0, 6.0]), iou(&[0.0; 4], &[0.0; 4])), (0.0, 0.0));
        assert!(iou(&square, &[f32::NAN, 0.0, 1.0, 1.0]).is_finite());
    }

    #[test]
    fn of_boxes_around_one_thing_the_best_is_kept() {
        let boxes = vec![detected(1.0, 0.5, 0), detected(0.0, 0.9, 0), detected(0.5, 0.7, 1), detected(8.0, 0.3, 0)];
        let kept: Vec<(f32, u32)> = suppress(boxes).iter().map(|kept| (kept.score, kept.class)).collect();
        assert_eq!(kept, [(0.9, 0), (0.7, 1), (0.3, 0)]);
    }
}
