//! Elements of a dimension that come from places of another: what moves, slides and pools do.

use candle_core::{DType, Device, Result, Tensor};

use crate::ops::operator::FILL;

/// Each of `to` elements along the last dimension comes from one of `from`, or from none.
pub(super) struct Gather {
    from: usize,
    to: usize,
    /// `None` where nothing moves.
    ids: Option<Tensor>,
    has_gaps: bool,
    back: Tensor,
    /// How many elements come from one place, at most.
    fan: usize,
}

/// Numbers that [`Gather::backward`] may read for each that it is given.
const MOST_READ: usize = 4;

impl Gather {
    /// `map` holds the place of each element, or [`FILL`]. `None` where places are used so unevenly that going back would read
    /// too much.
    ///
    /// # Errors
    /// If `device` has no memory for the map.
    pub fn new(map: &[u32], from: usize, device: &Device) -> Result<Option<Self>> {
        let mut readers: Vec<Vec<u32>> = vec![Vec::new(); from];
        for (to, place) in map.iter().enumerate().filter(|(_, place)| **place != FILL) {
            match readers.get_mut(*place as usize) {
                Some(readers) => readers.push(to as u32),
                None => candle_core::bail!("an index map is out of range"),
            }
        }
        let fan = readers.iter().map(Vec::len).max().unwrap_or(0).max(1);
        if fan > 1 && fan.saturating_mul(from) > MOST_READ * map.len().max(from) {
            return Ok(None);
        }
        let to = map.len();
        let is_identity = from == to && map.iter().enumerate().all(|(at, place)| *place == at as u32);
        let has_gaps = map.contains(&FILL);
        let ids = map.iter().map(|place| if *place == FILL { from as u32 } else { *place }).collect::<Vec<u32>>();
        let back = (0..fan).flat_map(|turn| readers.iter().map(move |readers| readers.get(turn).copied().unwrap_or(to as u32)));
        Ok(Some(Gather {
            from,
            to,
            ids: if is_identity { None } else { Some(Tensor::from_vec(ids, to, device)?) },
            has_gaps,
            back: Tensor::from_vec(back.collect::<Vec<u32>>(), fan * from, device)?,
            fan,
        }))
    }

    /// `[…, from]` to `[…, to]`; what comes from nowhere is `fill`.
    pub fn forward(&self, x: &Tensor, fill: f64) -> Result<Tensor> {
        let Some(ids) = &self.ids else { return Ok(x.clone()) };
        let x = if self.has_gaps { with_one_more(x, fill)? } else { x.contiguous()? };
        x.index_select(ids, x.rank() - 1)
    }

    /// `[…, to]` to `[…, from]`: sums what came from each place.
    pub fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        if self.ids.is_none() {
            return Ok(gradient.clone());
        }
        let last = gradient.rank() - 1;
        let found = with_one_more(gradient, 0.0)?.index_select(&self.back, last)?;
        if self.fan == 1 {
            return Ok(found);
        }
        let lead = &gradient.dims()[..last];
        found.reshape([lead, &[self.fan, self.from]].concat())?.sum(last)
    }

    /// Elements after [`Gather::forward`].
    pub fn len(&self) -> usize {
        self.to
    }
}

/// One more element, `fill`, at the end of the last dimension.
fn with_one_more(x: &Tensor, fill: f64) -> Result<Tensor> {
    let last = x.rank() - 1;
    let lead = [&x.dims()[..last], &[1]].concat();
    let end = Tensor::zeros(lead, DType::F32, x.device())?.affine(0.0, fill)?;
    Tensor::cat(&[x, &end], last)?.contiguous()
}
