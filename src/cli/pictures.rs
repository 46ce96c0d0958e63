//! Flags that say how pictures become what a network takes.

use std::path::Path;
use std::str::FromStr;

use clap::Args;

use super::arguments::{choice_parser, first_said};
use crate::calibration::{ChannelOrder, Framing, Resize, parse_crop};
use crate::error::{Error, Result};

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "How pictures become inputs")]
pub struct PictureArguments {
    /// Resize pictures first: the shorter side (256), or HEIGHTxWIDTH [default: to the size of the input]
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = Resize::from_str)]
    pub resize: Option<Resize>,
    /// Keep the middle of pictures: 224, or HEIGHTxWIDTH
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = parse_crop)]
    pub crop: Option<(u32, u32)>,
    /// In which order the network takes red, green and blue [default: rgb]
    #[arg(hide_short_help = true, long, value_name = "ORDER", value_parser = choice_parser(&ChannelOrder::ALL, ChannelOrder::name, ChannelOrder::description))]
    pub channel_order: Option<ChannelOrder>,
}

impl PictureArguments {
    /// Refuses what says how pictures are read where `flag` gives none.
    ///
    /// # Errors
    /// If something does.
    pub fn refuse_without(&self, flag: &str, path: Option<&Path>) -> Result<()> {
        let said =
            [("--resize", self.resize.is_some()), ("--crop", self.crop.is_some()), ("--channel-order", self.channel_order.is_some())];
        match first_said(said).filter(|_| path.is_none()) {
            Some(name) => Err(Error::Usage(format!("{name} is for pictures that {flag} gives"))),
            None => Ok(()),
        }
    }

    pub fn framing(&self) -> Framing {
        Framing { resize: self.resize, crop: self.crop, order: self.channel_order.unwrap_or_default() }
    }
}
