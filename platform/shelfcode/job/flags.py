"""The flags that several jobs share, so that they read the same everywhere."""

from typing import Annotated

import typer

CatalogFlag = Annotated[
    str, typer.Option("--catalog", help="File, folder or glob of Parquet, CSV or JSON, or a Delta or Iceberg table; local or s3://.")
]
WorkspaceFlag = Annotated[str, typer.Option("--workspace", help="Folder or s3:// prefix for embeddings and releases; made when missing.")]
JudgmentsFlag = Annotated[
    str, typer.Option("--judgments", help="Parquet, CSV or JSON Lines with query, item_id and label (E, S, C or I); local or s3://.")
]
InteractionsFlag = Annotated[
    str, typer.Option("--interactions", help="Sessions or baskets as Parquet, CSV or JSON: file, folder or glob; local or s3://.")
]
RecipeFlag = Annotated[str, typer.Option("--recipe", help="Of an encoder: name under jobs/encoders/, or the path of a YAML file.")]
FlavorFlag = Annotated[str, typer.Option("--flavor", help="Name under jobs/flavors/, or the path of a YAML file.")]
SetFlag = Annotated[list[str] | None, typer.Option("--set", help="key.sub=value: any recipe field; may be given several times.")]

LabelsFlag = Annotated[
    str | None,
    typer.Option("--labels", help="Decided labels to lay over the catalog: file or folder that export_corrections wrote; local or s3://."),
]
EngagementFlag = Annotated[
    str | None,
    typer.Option(
        "--engagement",
        help="What customers take together, for the first level: Parquet file or folder of baskets (order_id, item_id) or pairs (item_id, "
        "other_item_id); local or s3://.",
    ),
]
StoreFlag = Annotated[str, typer.Option("--store", help="Where decisions are kept: an SQLite file, or the URL of a PostgreSQL database.")]
AuditFlag = Annotated[str, typer.Option("--audit", help="Name of an audit, such as precision-v0001-001.")]
HoldFlag = Annotated[bool, typer.Option("--hold", help="Publish the release and leave CURRENT where it is; promote_release moves it.")]
WaitFlag = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for another run that writes the same.")]
