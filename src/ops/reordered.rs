//! A kernel whose operands lie in memory otherwise than it wants them.

use super::operator::{BackwardCall, Gradient, Kernel, Layout, Operand, Site};

/// For each element in the order that the kernel wants, where it lies; `None` where the two orders are the same.
type Map = Option<Vec<u32>>;

/// Gathers operands into the order that `inner` wants and scatters what it writes.
struct Reordered {
    inner: Box<dyn Kernel>,
    inputs: Vec<Map>,
    output: Map,
}

/// `inner`, which wants its inputs in the layouts `wanted` and writes `output`, for the layouts of `site`.
pub fn reorder(site: &Site<'_>, wanted: &[Layout], output: &Layout, inner: Box<dyn Kernel>) -> Box<dyn Kernel> {
    reorder_output(site, wanted, 0, output, inner)
}

/// `inner`, which wants its inputs and writes output `index` row-major, for the layouts of `site`.
pub fn row_major(site: &Site<'_>, index: usize, inner: impl Kernel + 'static) -> Box<dyn Kernel> {
    let plain = |layout: Option<&Layout>| Layout::row_major(layout.map_or(&[], |layout| &layout.shape));
    let wanted: Vec<Layout> = (0..site.inputs.len()).map(|index| plain(site.get(index).map(|operand| &operand.layout))).collect();
    reorder_output(site, &wanted, index, &plain(site.output(index)), Box::new(inner))
}

fn reorder_output(site: &Site<'_>, wanted: &[Layout], index: usize, output: &Layout, inner: Box<dyn Kernel>) -> Box<dyn Kernel> {
    let map = |operand: Option<&Operand>, wanted: &Layout| operand.and_then(|operand| map(wanted, &operand.layout));
    let inputs: Vec<Map> = wanted.iter().enumerate().map(|(index, wanted)| map(site.get(index), wanted)).collect();
    let output = site.output(index).and_then(|found| self::map(output, found));
    if output.is_none() && inputs.iter().all(Option::is_none) {
        return inner;
    }
    Box::new(Reordered { inner, inputs, output })
}

fn map(wanted: &Layout, found: &Layout) -> Map {
    if wanted == found {
        return None;
    }
    let mut map = vec![0; wanted.len()];
    for (to, from) in wanted.offsets().into_iter().zip(found.offsets()) {
        map[to] = from as u32;
    }
    (!map.iter().zip(0..).all(|(from, to)| *from == to)).then_some(map)
}

fn gather(map: &[u32], from: &[f32], to: &mut [f32]) {
    for (to, at) in to.iter_mut().zip(map) {
        *to = from[*at as usize];
    }
}

fn scatter(map: &[u32], from: &[f32], to: &mut [f32], accumulate: bool) {
    for (value, at) in from.iter().zip(map) {
        let to = &mut to[*at as usize];
        *to = if accumulate { *to + value } else { *value };
    }
}

/// `values` in the order of `map`, in a part of `scratch`.
fn gathered<'a>(map: &Map, values: &'a [f32], scratch: &mut &'a mut [f32]) -> &'a [f32] {
    match map {
        Some(map) if !values.is_empty() => {
            let part = take(scratch, map.len());
            gather(map, values, part);
            part
        }
        _ => values,
    }
}

fn take<'a>(scratch: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, rest) = std::mem::take(scratch).split_at_mut(len);
    *scratch = rest;
    part
}

impl Reordered {
    fn map(&self, input: usize) -> &Map {
        self.inputs.get(input).unwrap_or(&None)
    }

    fn gather_inputs<'a>(&self, inputs: &[&'a [f32]], scratch: &mut &'a mut [f32]) -> Vec<&'a [f32]> {
        inputs.iter().enumerate().map(|(index, values)| gathered(self.map(index), values, scratch)).collect()
    }
}

impl Kernel for Reordered {
    fn scratch(&self) -> usize {
        let len = |map: &Map| map.as_ref().map_or(0, Vec::len);
        self.inner.scratch() + 2 * self.inputs.iter().map(len).sum::<usize>() + 2 * len(&self.output)
    }

    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        let copy = |(index, values): (usize, &Option<&[f32]>)| {
            let map = self.inputs.get(index).and_then(Option::as_ref)?;
            values.map(|values| map.iter().map(|at| values[*at as usize]).collect::<Vec<f32>>())
        };
        let copies: Vec<Option<Vec<f32>>> = shared.iter().enumerate().map(copy).collect();
        let reordered: Vec<Option<&[f32]>> = copies.iter().zip(shared).map(|(copy, values)| copy.as_deref().or(*values)).collect();
        self.inner.prepare(&reordered);
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let mut scratch = scratch;
        let inputs = self.gather_inputs(inputs, &mut scratch);
        match &self.output {
            None => self.inner.forward(&inputs, output, scratch),
            Some(map) => {
                let written = take(&mut scratch, map.len());
                self.inner.forward(&inputs, written, scratch);
                scatter(map, written, output, false);
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let mut scratch = call.scratch;
        let inputs = self.gather_inputs(call.inputs, &mut scratch);
        let output = gathered(&self.output, call.output, &mut scratch);
        let output_gradient = gathered(&self.output, call.output_gradient, &mut scratch);
        let mut results: Vec<(usize, &mut [f32])> = Vec::new();
        let mut gradients: Vec<Option<Gradient<'_>>> = Vec::new();
        let mut targets: Vec<Option<Gradient<'_>>> = Vec::new();
        for (index, gradient) in call.input_gradients.iter_mut().enumerate() {
            let target = gradient.as_mut().map(|gradient| Gradient { values: &mut *gradient.values, accumulate: gradient.accumulate });
            let (inner, outer) = match (target, self.map(index)) {
                (Some(target), Some(map)) => {
                    results.push((index, take(&mut scratch, map.len())));
                    (None, Some(target))
                }
                (target, _) => (target, None),
            };
            gradients.push(inner);
            targets.push(outer);
        }
        for (index, values) in &mut results {
            gradients[*index] = Some(Gradient { values, accumulate: false });
        }
        self.inner.backward(BackwardCall { inputs: &inputs, output, output_gradient, input_gradients: &mut gradients, scratch });
        drop(gradients);
        for (index, values) in &results {
            if let (Some(map), Some(target)) = (self.map(*index), &mut targets[*index]) {
                scatter(map, values, target.values, target.accumulate);
            }
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        self.inner.backward_needs_inputs()
    }

    fn backward_needs_output(&self) -> bool {
        self.inner.backward_needs_output()
    }
}
