"""DynamicEarthNet and SpaceNet7 as they are downloaded, and the run that turns them into scenes."""
