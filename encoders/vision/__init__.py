"""The one transformer: shapes, stems, the packed forward pass, compilation and export."""
