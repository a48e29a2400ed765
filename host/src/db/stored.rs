//! JSON columns as the fields of rows. `query_as!` converts each column with `Into`, and [`Stored`] is the type
//! from which a column becomes the value itself, so that a row needs no second type with `Json` in it.

use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::User;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef, Postgres};
use sqlx::types::Json;
use sqlx::{Decode, Type};

/// A JSON column: `properties AS "properties: Stored<Properties>"`.
pub(in crate::db) struct Stored<T>(Json<T>);

impl<T> Type<Postgres> for Stored<T> {
    fn type_info() -> PgTypeInfo {
        <Json<T> as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <Json<T> as Type<Postgres>>::compatible(ty)
    }
}

impl<'r, T> Decode<'r, Postgres> for Stored<T>
where
    Json<T>: Decode<'r, Postgres>,
{
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Json::decode(value).map(Self)
    }
}

impl From<Stored<Self>> for Properties {
    fn from(stored: Stored<Self>) -> Self {
        stored.0.0
    }
}

impl From<Stored<Self>> for User {
    fn from(stored: Stored<Self>) -> Self {
        stored.0.0
    }
}
