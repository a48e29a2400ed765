//! The engine outside the database: Hatchet, which workers use where `HATCHET_CLIENT_TOKEN` is set.

use hogsend_hatchet::Settings;

use super::reader::Reader;
use crate::clock::Clock;

pub fn read(reader: &mut Reader<'_>) -> Option<Settings> {
    let lookup = reader.lookup;
    let now = Clock::system().now();
    match Settings::load(&|name| lookup(name), now.into()) {
        Ok(settings) => settings,
        Err(problems) => {
            for one in problems {
                reader.problem(one.variable, one.text);
            }
            None
        }
    }
}
