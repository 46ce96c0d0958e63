//! The elements of one channel of a tensor.

/// How the channels of a row-major tensor lie.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    pub count: usize,
    /// Elements of a channel that lie together.
    inner: usize,
}

impl Channels {
    /// Those along `axis`; without one, all elements are one channel.
    pub fn of(shape: &[usize], axis: Option<usize>) -> Self {
        let after = axis.map_or(0, |axis| axis + 1);
        Channels { count: axis.map_or(1, |axis| shape[axis]), inner: shape[after..].iter().product() }
    }

    /// The elements of `channel`, in order.
    pub fn slices<'a>(&self, elements: &'a [f32], channel: usize) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let inner = self.inner.max(1);
        elements.chunks(inner).skip(channel).step_by(self.count.max(1))
    }

    /// As [`Channels::slices`], together.
    pub fn row(&self, elements: &[f32], channel: usize) -> Vec<f32> {
        self.slices(elements, channel).flatten().copied().collect()
    }

    /// All elements in their places, from those of each channel.
    pub fn join(&self, rows: &[Vec<f32>]) -> Vec<f32> {
        let inner = self.inner.max(1);
        let places = rows.first().map_or(0, |row| row.len() / inner);
        let mut elements = Vec::with_capacity(rows.iter().map(Vec::len).sum());
        for place in 0..places {
            rows.iter().for_each(|row| elements.extend(&row[place * inner..][..inner]));
        }
        elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_joined_are_the_tensor() {
        let elements: Vec<f32> = (0..24).map(|index| index as f32).collect();
        for (axis, second) in [(None, None), (Some(0), Some(12.0)), (Some(1), Some(4.0)), (Some(2), Some(1.0))] {
            let channels = Channels::of(&[2, 3, 4], axis);
            let rows: Vec<Vec<f32>> = (0..channels.count).map(|channel| channels.row(&elements, channel)).collect();
            assert_eq!(channels.join(&rows), elements);
            assert_eq!(rows.get(1).map(|row| row[0]), second);
        }
    }
}
