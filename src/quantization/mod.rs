//! Which value becomes which integer.

mod assignment;
mod channels;
pub mod costs;
mod cut;
mod exclusion;
mod frontier;
mod islands;
mod layer;
mod objective;
mod params;
mod plan;
pub mod rounding;
pub mod scheme;
pub mod squant;
mod standing;
pub mod target;
pub mod targets;
mod verdict;
mod wide_results;
mod widths;

pub use assignment::{Assignment, LayerWidths};
pub use channels::Channels;
pub use frontier::{Choice, Optimum, frontier};
pub use islands::islands;
pub use layer::Layer;
pub use objective::{Objective, faster_in_float, movable_nodes};
pub use params::QuantParams;
pub use plan::{ActivationPoint, Conversion, Group, KernelForecast, QuantPlan, WeightPoint, clip_bounds, plan, plan_around};
pub use standing::{Standing, Standings};
pub use target::{Format, PerChannel, Placement, Target};
pub use verdict::{NO_TRANSPOSED_CONVOLUTION, forecast, is_product};
pub use widths::{Width, Widths};
