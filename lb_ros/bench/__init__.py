"""`lb-ros bench`: how fast this machine encodes, preprocesses, embeds text and scores."""
