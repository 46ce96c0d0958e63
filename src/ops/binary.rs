//! Operators on two or more broadcast inputs, element by element.

use super::attributes::Attributes;
use super::broadcast::broadcast;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::kernels::Isa;
use crate::tensor::DataType;

/// A function of two numbers with its partial derivatives.
trait Function: Copy + Send + Sync + 'static {
    fn value(a: f32, b: f32) -> f32;
    fn slopes(a: f32, b: f32) -> (f32, f32);
}

/// Which element of an input each output element, in memory order, reads.
enum Pattern {
    Same,
    /// The input repeats with this period: one number (1), or one per channel.
    Periodic(usize),
    Offsets(Vec<u32>),
}

impl Pattern {
    fn new(input: &Layout, output: &Layout) -> Self {
        if input == output {
            return Pattern::Same;
        }
        let mut offsets = vec![0u32; output.len()];
        for (to, from) in output.offsets().into_iter().zip(input.broadcast_offsets(&output.shape)) {
            offsets[to] = from as u32;
        }
        let period = input.len();
        if offsets.iter().enumerate().all(|(i, offset)| *offset as usize == i % period) {
            return Pattern::Periodic(period);
        }
        Pattern::Offsets(offsets)
    }

    /// The input's elements for output elements from `start` on, copied to `buffer`.
    fn fill(&self, input: &[f32], start: usize, buffer: &mut [f32]) {
        match self {
            Pattern::Same => buffer.copy_from_slice(&input[start..start + buffer.len()]),
            Pattern::Periodic(1) => buffer.fill(input[0]),
            Pattern::Periodic(period) => {
                let mut at = start % period;
                let mut rest = buffer;
                while !rest.is_empty() {
                    let count = (period - at).min(rest.len());
                    let (head, tail) = rest.split_at_mut(count);
                    head.copy_from_slice(&input[at..at + count]);
                    (rest, at) = (tail, 0);
                }
            }
            Pattern::Offsets(offsets) => {
                for (to, offset) in buffer.iter_mut().zip(&offsets[start..]) {
                    *to = input[*offset as usize];
                }
            }
        }
    }

    /// Adds `values`, the gradient at output elements from `start` on, to the input's gradient.
    fn scatter(&self, values: &[f32], start: usize, target: &mut [f32]) {
        match self {
            Pattern::Same => target[start..].iter_mut().zip(values).for_each(|(t, v)| *t += v),
            Pattern::Periodic(period) => values.iter().enumerate().for_each(|(i, v)| target[(start + i) % period] += v),
            Pattern::Offsets(offsets) => values.iter().zip(&offsets[start..]).for_each(|(v, offset)| target[*offset as usize] += v),
        }
    }
}

const CHUNK: usize = 512;

struct BinaryKernel<F> {
    patterns: [Pattern; 2],
    isa: Isa,
    function: std::marker::PhantomData<F>,
}

impl<F: Function> Kernel for BinaryKernel<F> {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let mut buffers = [[0.0f32; CHUNK]; 2];
        for (chunk, out) in output.chunks_mut(CHUNK).enumerate() {
            let (start, len) = (chunk * CHUNK, out.len());
            let [a, b] = &mut buffers;
            self.patterns[0].fill(inputs[0], start, &mut a[..len]);
            self.patterns[1].fill(inputs[1], start, &mut b[..len]);
            self.isa.run(|| apply::<F>(&a[..len], &b[..len], out));
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        for (index, gradient) in call.input_gradients.iter_mut().enumerate().take(2) {
            let Some(gradient) = gradient else { continue };
            let target = gradient.open();
            let mut buffers = [[0.0f32; CHUNK]; 2];
            for (chunk, g) in call.output_gradient.chunks(CHUNK).enumerate() {
                let (start, len) = (chunk * CHUNK, g.len());
                let [a, b] = &mut buffers;
                self.patterns[0].fill(call.inputs[0], start, &mut a[..len]);
                self.patterns[1].fill(call.inputs[1], start, &mut b[..len]);
                let mut slopes = [0.0f32; CHUNK];
                self.isa.run(|| apply_slope::<F>(index, &a[..len], &b[..len], g, &mut slopes[..len]));
                self.patterns[index].scatter(&slopes[..len], start, target);
            }
        }
    }
}

#[inline(always)]
fn apply<F: Function>(a: &[f32], b: &[f32], out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = F::value(*a, *b);
    }
}

#[inline(always)]
fn apply_slope<F: Function>(index: usize, a: &[f32], b: &[f32], g: &[f32], out: &mut [f32]) {
    for (((out, a), b), g) in out.iter_mut().zip(a).zip(b).zip(g) {
        let (by_a, by_b) = F::slopes(*a, *b);
        *out = g * if index == 0 { by_a } else { by_b };
    }
}

/// More than two inputs: folded from the left.
struct Variadic<F> {
    patterns: Vec<Pattern>,
    function: std::marker::PhantomData<F>,
}

impl<F: Function> Variadic<F> {
    /// Running values after each input, for output element `index`.
    fn values(&self, inputs: &[&[f32]], index: usize) -> Vec<f32> {
        let element = |(pattern, input): (&Pattern, &&[f32])| {
            let mut one = [0.0];
            pattern.fill(input, index, &mut one);
            one[0]
        };
        self.patterns.iter().zip(inputs).map(element).collect()
    }
}

impl<F: Function> Kernel for Variadic<F> {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (index, out) in output.iter_mut().enumerate() {
            *out = self.values(inputs, index).into_iter().reduce(F::value).unwrap_or(0.0);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        for (index, g) in call.output_gradient.iter().enumerate() {
            let values = self.values(call.inputs, index);
            let mut slopes = vec![1.0f32; values.len()];
            let mut total = values[0];
            for (k, value) in values.iter().enumerate().skip(1) {
                let (by_total, by_value) = F::slopes(total, *value);
                slopes[..k].iter_mut().for_each(|slope| *slope *= by_total);
                slopes[k] = by_value;
                total = F::value(total, *value);
            }
            for ((gradient, pattern), slope) in call.input_gradients.iter_mut().zip(&self.patterns).zip(slopes) {
                if let Some(gradient) = gradient {
                    let target = gradient.open();
                    pattern.scatter(&[g * slope], index, target);
                }
            }
        }
        call.input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
    }
}

fn implement<F: Function>(site: &Site<'_>) -> Result<Implementation, Refusal> {
    let output = site.outputs.first().ok_or("it has no output")?;
    let mut patterns = Vec::new();
    for index in 0..site.inputs.len() {
        patterns.push(Pattern::new(&site.required(index)?.layout, output));
    }
    let function = std::marker::PhantomData::<F>;
    match <[Pattern; 2]>::try_from(patterns) {
        Ok(patterns) => Ok(Implementation::Compute(Box::new(BinaryKernel { patterns, isa: site.isa, function }))),
        Err(patterns) => Ok(Implementation::Compute(Box::new(Variadic { patterns, function }))),
    }
}

fn infer(inputs: &Facts<'_>, data_type: Option<DataType>, count: std::ops::RangeInclusive<usize>) -> Result<Vec<Fact>, Refusal> {
    if !count.contains(&inputs.len()) {
        return Err(format!("it has {} inputs", inputs.len()));
    }
    let first = inputs.required(0)?;
    let mut shape = first.shape.clone();
    for index in 1..inputs.len() {
        let next = inputs.required(index)?;
        if next.data_type != first.data_type {
            return Err(format!("inputs have types {} and {}", first.data_type, next.data_type));
        }
        shape = broadcast(&shape, &next.shape)?;
    }
    Ok(vec![Fact::new(data_type.unwrap_or(first.data_type), shape)])
}

macro_rules! binary {
    ($(#[$doc:meta])* $name:ident, $role:ident, $most:expr, $output:expr, |$a:ident, $b:ident| $value:expr, $slopes:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl $name {
            /// # Errors
            /// If an attribute is unknown.
            pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
                let mut attributes = form.attributes;
                attributes.0.remove("consumed_inputs");
                attributes.finish()?;
                Ok(Parsed::plain($name))
            }
        }

        impl Function for $name {
            #[inline(always)]
            fn value($a: f32, $b: f32) -> f32 { $value }
            #[inline(always)]
            fn slopes($a: f32, $b: f32) -> (f32, f32) { let _ = ($a, $b); $slopes }
        }

        impl Operator for $name {
            fn name(&self) -> &str { stringify!($name) }
            fn attributes(&self) -> Attributes { Attributes::default() }
            fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> { infer(inputs, $output, if $most == 2 { 2..=2 } else { 1..=$most }) }
            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> { implement::<$name>(site) }
            fn quantization_role(&self) -> QuantizationRole { QuantizationRole::$role }
        }
    };
}

const MANY: usize = usize::MAX;

binary!(/** a + b. */ Add, Merge, 2, None, |a, b| a + b, (1.0, 1.0));
binary!(/** a − b. */ Sub, Float, 2, None, |a, b| a - b, (1.0, -1.0));
binary!(/** a · b. */ Mul, Merge, 2, None, |a, b| a * b, (b, a));
binary!(/** a / b. */ Div, Float, 2, None, |a, b| a / b, (1.0 / b, -a / (b * b)));
binary!(/** aᵇ; the derivative by b is 0 where a ≤ 0. */ Pow, Float, 2, None, |a, b| a.powf(b), (b * a.powf(b - 1.0), if a > 0.0 { a.powf(b) * a.ln() } else { 0.0 }));
binary!(/** Largest; ties go to the first. */ Max, Float, MANY, None, |a, b| if b > a { b } else { a }, if b > a { (0.0, 1.0) } else { (1.0, 0.0) });
binary!(/** Smallest; ties go to the first. */ Min, Float, MANY, None, |a, b| if b < a { b } else { a }, if b < a { (0.0, 1.0) } else { (1.0, 0.0) });
binary!(/** Sum of all inputs. */ Sum, Float, MANY, None, |a, b| a + b, (1.0, 1.0));
binary!(/** x, or slope·x below 0. */ PRelu, Float, 2, None, |x, slope| if x >= 0.0 { x } else { slope * x }, if x >= 0.0 { (1.0, 0.0) } else { (slope, x) });
binary!(/** Whether a = b. */ Equal, Float, 2, Some(DataType::Bool), |a, b| f32::from(a == b), (0.0, 0.0));
binary!(/** Whether a < b. */ Less, Float, 2, Some(DataType::Bool), |a, b| f32::from(a < b), (0.0, 0.0));
binary!(/** Whether a > b. */ Greater, Float, 2, Some(DataType::Bool), |a, b| f32::from(a > b), (0.0, 0.0));

/// Value bounds as inputs 1 and 2, both optional. Inside and at the bounds the gradient passes.
#[derive(Clone, Copy, Debug)]
pub struct Clip;

impl Clip {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        attributes.0.remove("consumed_inputs");
        let mut inputs = Vec::new();
        if form.opset < 11 {
            for (index, name) in [(1, "min"), (2, "max")] {
                if attributes.0.contains_key(name) {
                    inputs.push((index, crate::tensor::TensorData::scalar(attributes.take_float(name, 0.0)?)));
                }
            }
        }
        attributes.finish()?;
        Ok(Parsed { operator: std::sync::Arc::new(Clip), inputs })
    }
}

struct ClipKernel {
    isa: Isa,
}

impl ClipKernel {
    fn bounds(inputs: &[&[f32]]) -> (f32, f32) {
        let bound = |index: usize, default: f32| inputs.get(index).and_then(|bound| bound.first()).copied().unwrap_or(default);
        (bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY))
    }
}

impl Kernel for ClipKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let (low, high) = Self::bounds(inputs);
        self.isa.run(|| {
            for (y, x) in output.iter_mut().zip(inputs[0]) {
                *y = x.max(low).min(high);
            }
        });
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let (low, high) = Self::bounds(call.inputs);
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        for ((t, x), g) in gradient.open().iter_mut().zip(call.inputs[0]).zip(call.output_gradient) {
            *t += if *x >= low && *x <= high { *g } else { 0.0 };
        }
    }
}

impl Operator for Clip {
    fn name(&self) -> &str {
        "Clip"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        Ok(vec![Fact::new(x.data_type, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        Ok(Implementation::Compute(Box::new(ClipKernel { isa: site.isa })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Activation
    }
}
